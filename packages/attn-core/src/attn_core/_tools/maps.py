"""`attention_maps`: the map of every attention layer in a model, as arrays."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from attn_core.layers._base import recorded_maps

Maps: TypeAlias = np.ndarray | tuple[np.ndarray, ...]
"""What a layer returns: one map, or a tuple of maps."""


@dataclass(frozen=True)
class Recorded:
    """What was recorded of one call of one attention layer.

    Attributes:
        layer: The layer.
        input_shape: Shape of its first input.
        shared_keys: Whether its keys, if it has any, come from its first input too.
        maps: Its map, or its tuple of maps, as NumPy arrays in float32.
    """

    layer: keras.layers.Layer
    input_shape: tuple[int, ...]
    shared_keys: bool
    maps: Maps

    @property
    def each(self) -> tuple[np.ndarray, ...]:
        """Its maps, as a tuple also where there is one."""
        return self.maps if isinstance(self.maps, tuple) else (self.maps,)


def attention_maps(
    model: keras.layers.Layer, inputs: Any
) -> dict[str, np.ndarray | tuple[np.ndarray, ...]]:
    """Return the map of every attention layer in a model, for given inputs.

    The model runs once, in inference mode. It runs eagerly, not as a compiled function: call this
    from ordinary Python, not from within `tf.function`, `jax.jit` or `torch.compile`.

    Args:
        model: A Keras model, or a layer.
        inputs: What the model takes: an array `(B, ...)`, or a list or dictionary of them.

    Returns:
        A dictionary from the path of each layer that has a map (`"backbone/stage_1/attention"`) to
        the map that it returns with `return_attention_scores=True`, in float32, or the tuple of its
        maps. The layers are in the order of their calls; a layer that is called again gets a
        suffix, `"attention#2"`.

    Raises:
        ValueError: If the model calls no layer that has a map.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from attn_core import CBAM, attention_maps
        >>> inputs = keras.Input((None, None, 3))
        >>> x = keras.layers.Conv2D(16, 3)(inputs)
        >>> x = CBAM(reduction=4, data_format="channels_last", name="cbam")(x)
        >>> maps = attention_maps(keras.Model(inputs, x), np.ones((2, 8, 8, 3)))
        >>> {path: [gate.shape for gate in gates] for path, gates in maps.items()}
        {'cbam': [(2, 1, 1, 16), (2, 6, 6, 1)]}
    """
    return {path: one.maps for path, one in record(model, inputs).items()}


def record(model: keras.layers.Layer, inputs: Any) -> dict[str, Recorded]:
    """Run a model; return what was recorded of each attention layer, by the layer's path."""
    if not isinstance(model, keras.Layer):
        raise ValueError(f"Attention maps are those of a Keras model or layer. Received: {model!r}")
    if not model.built:  # Keras may build by calls of its own, which are not to be recorded
        model(inputs, training=False)
    with recorded_maps() as calls:
        model(inputs, training=False)
    if not calls:
        raise _no_maps(model)
    paths = _paths(model)
    recorded: dict[str, Recorded] = {}
    seen: dict[str, int] = {}
    for layer, given, maps in calls:
        path = paths.get(id(layer)) or layer.path or layer.name
        seen[path] = seen.get(path, 0) + 1
        key = path if seen[path] == 1 else f"{path}#{seen[path]}"
        first, keys = next(iter(given.values()), None), given.get("key")
        shared = keys is None or keys is first
        shape = tuple(getattr(first, "shape", ()))
        try:
            arrays = keras.tree.map_structure(_numpy, maps)
        except Exception as error:  # every backend has its own kind for a tensor without numbers
            raise _compiled(model, [path]) from error
        recorded[key] = Recorded(layer, shape, shared, arrays)
    return recorded


def _no_maps(model: keras.layers.Layer) -> ValueError:
    """Return the error for a model none of whose layers was recorded."""
    layers = model._flatten_layers()
    mapped = [one for one in layers if getattr(one, "maps", ())]
    if mapped:
        paths = _paths(model)
        return _compiled(model, [paths.get(id(one)) or one.path or one.name for one in mapped])
    containers = keras.Model, keras.layers.InputLayer
    kinds = sorted({type(layer).__name__ for layer in layers if not isinstance(layer, containers)})
    return ValueError(
        f"{type(model).__name__} {model.name!r} has no layer with an attention map. "
        f"Received: a model of {', '.join(kinds)}"
    )


def _compiled(model: keras.layers.Layer, paths: list[str]) -> ValueError:
    """Return the error for layers that have maps and run where no map can be read."""
    return ValueError(
        f"{type(model).__name__} {model.name!r} has layers with attention maps, "
        f"{', '.join(map(repr, paths))}, but did not run them in Python. Either its `call` uses "
        "none of them, or a `call` around them is compiled, by `tf.function` or `jax.jit`: remove "
        "that, or turn it off by `tf.config.run_functions_eagerly(True)` or `jax.disable_jit()`."
    )


def _paths(model: keras.layers.Layer, prefix: str = "") -> dict[int, str]:
    """Return the path of every layer by its id; Keras' own paths leave out models within models."""
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


def _numpy(x: Any) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(x, "float32"))
