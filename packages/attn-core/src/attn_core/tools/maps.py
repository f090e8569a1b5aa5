"""`attention_maps`: the map of every attention layer in a model, as arrays."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from attn_core.layers.base import recorded_maps


@dataclass(frozen=True)
class Recorded:
    """What one call of one attention layer left.

    Attributes:
        layer: The layer.
        input_shape: Shape of its first input.
        shared_keys: Whether its keys, if it has any, come from that input too.
        maps: Its map, or its tuple of maps, as NumPy arrays in float32.
    """

    layer: keras.layers.Layer
    input_shape: tuple[int, ...]
    shared_keys: bool
    maps: np.ndarray | tuple[np.ndarray, ...]

    @property
    def each(self) -> tuple[np.ndarray, ...]:
        """Its maps, as a tuple in any case."""
        return self.maps if isinstance(self.maps, tuple) else (self.maps,)


def attention_maps(model, inputs) -> dict[str, np.ndarray | tuple[np.ndarray, ...]]:
    """Return the map of every attention layer in a model, for given inputs.

    The model runs once, in inference mode. It runs eagerly, not as a compiled function: call this
    from ordinary Python, not from within `tf.function`, `jax.jit` or `torch.compile`.

    Args:
        model: A Keras model, or a layer.
        inputs: What the model takes: an array `(B, ...)`, or a list or dictionary of them.

    Returns:
        From the path of each layer that has a map (`"backbone/stage_1/attention"`) to the map that
        it returns with `return_attention_scores=True`, in float32, or the tuple of its maps. They
        are in the order of the calls; a path that occurs again gets a suffix, `"attention#2"`.

    Raises:
        ValueError: If no layer of the model that was called has a map.

    Example:
        >>> import numpy as np
        >>> from attn_core import CBAM
        >>> inputs = keras.Input((None, None, 3))
        >>> x = keras.layers.Conv2D(16, 3)(inputs)
        >>> x = CBAM(reduction=4, data_format="channels_last", name="cbam")(x)
        >>> maps = attention_maps(keras.Model(inputs, x), np.ones((2, 8, 8, 3)))
        >>> {path: [gate.shape for gate in gates] for path, gates in maps.items()}
        {'cbam': [(2, 1, 1, 16), (2, 6, 6, 1)]}
    """
    return {path: one.maps for path, one in record(model, inputs).items()}


def record(model, inputs) -> dict[str, Recorded]:
    """Run a model; return what each call of an attention layer left, by the path of the layer."""
    if not isinstance(model, keras.Layer):
        raise ValueError(f"Attention maps are those of a Keras model or layer. Received: {model!r}")
    if not model.built:  # Keras may build by calls of its own, which are not to be recorded
        model(inputs, training=False)
    with recorded_maps() as calls:
        model(inputs, training=False)
    if not calls:
        containers = keras.Model, keras.layers.InputLayer
        layers = [one for one in model._flatten_layers() if not isinstance(one, containers)]
        kinds = sorted({type(layer).__name__ for layer in layers})
        raise ValueError(
            f"{type(model).__name__} {model.name!r} has no layer with an attention map. "
            f"Received: a model of {', '.join(kinds)}"
        )
    paths = _paths(model)
    recorded, seen = {}, {}
    for layer, arguments, maps in calls:
        path = paths.get(id(layer)) or layer.path or layer.name
        seen[path] = seen.get(path, 0) + 1
        key = path if seen[path] == 1 else f"{path}#{seen[path]}"
        shared = len(arguments) < 2 or arguments[1] is None or arguments[1] is arguments[0]
        shape = tuple(arguments[0].shape) if arguments else ()
        recorded[key] = Recorded(layer, shape, shared, keras.tree.map_structure(_numpy, maps))
    return recorded


def _paths(model, prefix: str = "") -> dict[int, str]:
    """Return the path of every layer, through models within models, which Keras' own leaves out."""
    paths = {}
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, keras.Model):
            paths |= _paths(layer, f"{prefix}{layer.name}/")
            continue
        for one in layer._flatten_layers():
            parts = (one.path or one.name).split("/")
            start = parts.index(layer.name) if layer.name in parts else 0
            paths[id(one)] = prefix + "/".join(parts[start:])
    return paths


def _numpy(x) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(x, "float32"))
