"""`insert_attention`: attention in a copy of an existing model."""

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from inspect import isfunction
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import keras

from attn_core import catalog
from attn_core._tools.adapter import call_on_image, takes_tokens
from attn_core._tools.creation import resolve
from attn_core._tools.places import PLACES, Call, copy_inputs, last_weighted, trace
from attn_core._weights.plain import full_precision
from attn_core.layers._base import ImageLayer
from attn_core.layers._trainable import set_trainable_flags, trainable_flags


def insert_attention(
    model: keras.Model,
    attention: str | type[keras.layers.Layer] | Callable[..., keras.layers.Layer],
    where: str | Callable[[Any], bool],
    **config: Any,
) -> keras.Model:
    """Return a copy of a model with attention inserted after the layers asked for.

    The copy is a functional model with its own weights: copies of the weights of the model, and new
    weights for the attention. Frozen layers stay frozen. The model itself does not change. The copy
    is not compiled.

    Args:
        model: A functional or a built sequential model.
        attention: What to insert: the name of a mechanism ("cbam", "SEAttention"), also with
            arguments ("cbam:reduction=8", see `create_attention`), a layer class, or a function
            that receives the layer to insert after and returns a layer. Such a function chooses the
            name, data format and dtype of its layer itself.
        where: After which layers to insert: one of the places below, a layer's name, a pattern of
            names ("conv5_*_out"), or a function that receives a layer, or an operation of
            `keras.ops`, and returns whether to insert after it. The places are recognised from the
            graph:

            - "residual_branch": the end of each residual branch, before the addition.
            - "block": the end of each block: each residual addition with its activation, and each
              linear bottleneck without addition. In networks without residual branches: each
              concatenation, or, if there is none, what goes into each pooling.
            - "stage": the last block of each height and width.
            - "head": the last features: what goes into the global pooling or flattening that ends
              the network. In a network that predicts for each position, such as a U-Net, and in
              one that pools its predictions, it is what goes into the last convolution or dense
              layer. In a network without such a layer, it is the output.
        **config: Arguments of the attention, the same at all places; a function receives them too.

    Returns:
        The copy. The attention after layer `name` is called `name_key`, where `key` is the
        mechanism's key in the catalog, or the name of the class in small letters. Layers on tokens,
        `(B, N, C)`, receive the positions of an image or a volume, between two reshapes; gates that
        only accept images receive a signal, `(B, T, C)`, as an image of one column. Outputs keep
        their names: if attention comes after an output, the layer that computed the output gets
        another name.

    Raises:
        ValueError: If the model has no graph; if `attention` or `where` is not as described; if
            `where` finds no place, or finds one within a nested model; if the attention needs
            another input or changes the shape; if a layer cannot be copied, or is part of two
            models within the model.

    Example:
        >>> inputs = keras.Input((32, 32, 3))
        >>> x = keras.layers.Conv2D(16, 3, name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D()(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(10)(x))
        >>> inserted = insert_attention(model, "se", "conv", reduction=4)
        >>> inserted.get_layer("conv_se").count_params()
        128
    """
    graph = _functional(model)
    calls = trace(graph)
    make = _maker(attention, config)
    wanted = _choose(calls, where, model)
    taken = {call.layer.name for call in calls}
    attentions: dict[keras.Operation, keras.layers.Layer] = {}
    for call in wanted:  # a layer that is called twice gets one attention, called twice
        if call.layer not in attentions:
            attentions[call.layer] = make(call, taken)

    _refuse_shared_parts(graph)
    # The last layer gives its name to an output: `compile` finds losses by it.
    outer = {call.layer: call.layer.name for call in wanted if call.is_output}
    twins: list[tuple[keras.Operation, keras.Operation]] = []
    order = iter(calls)

    def copy(layer: keras.Operation) -> keras.Operation:
        name = _unique(f"{layer.name}_before", taken) if layer in outer else layer.name
        twins.append((layer, _copy_of(layer, name)))
        return twins[-1][1]

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs, this = layer(*args, **kwargs), next(order)
        if this not in wanted:
            return outputs
        attended = _attend(attentions[this.layer], outputs, this, taken)
        if not this.is_output:
            return attended
        return keras.layers.Identity(name=outer[this.layer], dtype=attended.dtype)(attended)

    result = keras.models.clone_model(
        graph, copy_inputs(graph), clone_function=copy, call_function=call
    )
    for layer, twin in twins:
        if isinstance(layer, keras.layers.Layer):
            _copy_state(layer, twin)
    return result


def _error(message: str, received: str) -> ValueError:
    return ValueError(f"insert_attention: {message} Received: {received}")


def _functional(model: Any) -> keras.Model:
    """Return a plain functional model of the same layers, not compiled."""
    if not isinstance(model, keras.Model):
        raise _error("`model` must be a keras.Model.", f"model={model!r}")
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    received = f"model {model.name!r}, a {type(model).__name__}"
    if isinstance(model, keras.Sequential):
        if not inputs:
            raise _error(
                "`model` must be built: start it with a keras.Input, or call its `build`.", received
            )
        return keras.Model(inputs[0], outputs[0], name=model.name)
    graph = keras.Model(model.input, model.output, name=model.name) if inputs else None
    if graph is None or type(model).call is not type(graph).call:
        raise _error(
            "`model` must be functional or sequential: the graph of a subclassed model, whose "
            "`call` is Python code, is not known. Insert into its parts, or call the attention "
            "in its `call`.",
            received,
        )
    return graph


def _maker(
    attention: Any, config: dict[str, Any]
) -> Callable[[Call, set[str]], keras.layers.Layer]:
    """Return the function that makes the attention after a call, with a name not yet taken."""
    if isinstance(attention, str):
        attention, config = resolve(attention, config)
    if isinstance(attention, keras.layers.Layer) or not callable(attention):
        raise _error(
            "`attention` must be the name of a mechanism, a layer class, or a function that "
            "returns a layer: every place needs a layer of its own.",
            f"attention={attention!r}",
        )

    def from_class(call: Call, taken: set[str]) -> keras.layers.Layer:
        policy = full_precision(call.nearest("dtype_policy"))
        options: dict[str, Any] = {
            # PyTorch takes no dots in names, and networks are called "mobilenetv2_1.00_32".
            "name": _unique(f"{call.layer.name}_{_key(attention)}".replace(".", "_"), taken),
            # By its name, if it has no more: of a class without `get_config`, Keras keeps arguments
            # that are text or numbers.
            "dtype": policy.name if type(policy) is keras.DTypePolicy else policy,
        }
        if issubclass(attention, ImageLayer):
            options["data_format"] = call.nearest("data_format")
        return attention(**{**options, **config})

    def from_function(call: Call, taken: set[str]) -> keras.layers.Layer:
        layer = attention(call.layer, **config)
        if not isinstance(layer, keras.layers.Layer):
            raise _error(
                f"`attention` must return a layer, also after {call.layer.name!r}.", f"{layer!r}"
            )
        return layer

    return from_class if isinstance(attention, type) else from_function


def _key(layer_class: type[keras.layers.Layer]) -> str:
    """Return the ending of the names of inserted layers of a class."""
    mechanism = catalog.find(layer_class.__name__)
    return mechanism.key.replace("-", "_") if mechanism else layer_class.__name__.lower()


def _unique(name: str, taken: set[str]) -> str:
    """Return the name, numbered if it is taken, and take it."""
    if name in taken:
        name = next(f"{name}_{i}" for i in count(2) if f"{name}_{i}" not in taken)
    taken.add(name)
    return name


def _choose(calls: list[Call], where: Any, model: keras.Model) -> list[Call]:
    """Return the calls after which to insert."""
    received = f"where={where!r}"
    if isinstance(where, str) and where in PLACES:
        found = PLACES[where](calls)
        inner = _nested(last_weighted(found) if where == "head" and found else calls, where)
        if inner:
            raise _error(
                f"the nested model {inner[0]!r} has places of its own, which are not looked into: "
                "insert into it first, then build the model around it.",
                received,
            )
    elif isinstance(where, str):
        found = [c for c in calls if c.layer.name == where or fnmatchcase(c.layer.name, where)]
    elif callable(where):
        found = [call for call in calls if where(call.layer)]
    else:
        raise _error(
            "`where` must be a place, a layer's name, a pattern of names, or a function of a "
            f"layer. The places are {', '.join(map(repr, PLACES))}.",
            received,
        )
    if found:
        return found
    counts = {place: len(find(calls)) for place, find in PLACES.items()}
    places = ", ".join(f"{place!r} ({number})" for place, number in counts.items() if number)
    message = f"nothing in model {model.name!r} is at `where`. It has the places {places or 'none'}"
    if isinstance(where, str) and where not in PLACES:
        near = get_close_matches(where, [call.layer.name for call in calls])
        message += f", and layers named {' or '.join(map(repr, near))}" if near else ""
    raise _error(f"{message}.", received)


def _nested(calls: list[Call], place: str) -> list[str]:
    """Return the names of the models within the model, among the calls, in which a place is.

    The output of such a model may be its head itself: attention comes behind it then.
    """
    models = dict.fromkeys(call.layer for call in calls if isinstance(call.layer, keras.Model))
    known = {one: trace(_functional(one)) for one in models if getattr(one, "inputs", None)}
    inner = {one: PLACES[place](calls) for one, calls in known.items()}
    return [
        one.name
        for one, found in inner.items()
        if any(place != "head" or not call.is_output for call in found)
    ]


def _attend(
    attention: keras.layers.Layer, x: Any, call: Call, taken: set[str]
) -> keras.KerasTensor:
    """Return what the attention makes of the tensor after a call."""
    if not isinstance(x, keras.KerasTensor):
        raise _error("the layer must give one tensor.", f"layer {call.layer.name!r}")
    data_format = call.nearest("data_format") or "channels_last"
    first = data_format == "channels_first"
    if takes_tokens(attention, x) and None in (x.shape[2:] if first else x.shape[1:-1]):
        raise _error(
            f"{type(attention).__name__} takes tokens, and height and width must be known to make "
            "tokens of an image.",
            f"shape {tuple(x.shape)} after layer {call.layer.name!r}",
        )
    return call_on_image(
        attention,
        x,
        call=partial(_keep_shape, attention),
        data_format=data_format,
        rename=lambda name: _unique(name, taken),
    )


def _keep_shape(attention: keras.layers.Layer, x: keras.KerasTensor) -> keras.KerasTensor:
    """Call the attention, and check that the rest of the model can take its output."""
    output = attention(x)
    shape = tuple(getattr(output, "shape", ()))
    if shape != tuple(x.shape):
        raise _error(
            f"the attention must keep the shape, {tuple(x.shape)}.",
            f"{type(attention).__name__} {attention.name!r}, whose output has shape {shape}",
        )
    return output


def _copy_of(layer: keras.Operation, name: str) -> keras.Operation:
    """Return a new layer of the same configuration, under a name."""
    if isinstance(layer, keras.layers.Lambda):  # Keras reads no code from a configuration
        return keras.layers.Lambda(
            layer.function,
            output_shape=layer._output_shape,
            mask=layer.mask,
            arguments=layer.arguments,
            name=name,
            dtype=layer.dtype_policy,
        )
    if isinstance(layer, keras.Model) and _is_of_keras(type(layer)) and layer.inputs:
        return _copy_of_model(layer, name)
    if isinstance(layer, keras.layers.Wrapper) and _is_of_keras(type(layer)):
        inner = _copy_of(layer.layer, layer.layer.name)
        return type(layer)(**{**layer.get_config(), "layer": inner, "name": name})
    try:
        config = layer.get_config()
        # A function of the user's is not found by its name, and a lambda has none.
        values = {key: getattr(layer, key, None) for key in config}
        functions = {key: one for key, one in values.items() if isfunction(one)}
        config |= {key: one for key, one in functions.items() if not _is_of_keras(one)}
        config |= {} if name == layer.name else {"name": name}
        return type(layer).from_config(config)
    except Exception as error:  # of any kind: the layer's code is the user's
        kind = type(layer).__name__
        raise _error(
            f"the layer {layer.name!r} cannot be copied, because its class does not make it again "
            f"from its configuration: {kind}.from_config(layer.get_config()) fails. Let "
            f"{kind}.__init__ take **kwargs and pass them to super().__init__, and let "
            f"{kind}.get_config return all of its arguments.",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
        ) from error


def _is_of_keras(thing: Any) -> bool:
    """Return whether a class or function is one of Keras' own."""
    return str(thing.__module__).startswith("keras.")


def _copy_of_model(model: keras.Model, name: str) -> keras.Model:
    """Return a model of copies of the layers of a functional or sequential one, under a name."""

    def copy(layer: keras.Operation) -> keras.Operation:
        return _copy_of(layer, layer.name)

    if isinstance(model, keras.Sequential):
        (x,) = model.inputs
        first = keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name)
        twin = keras.Sequential([first, *map(copy, model.layers)], name=name)
    else:
        graph = keras.Model(model.input, model.output, name=name)
        twin = keras.models.clone_model(graph, copy_inputs(graph), clone_function=copy)
    twin.trainable = model.trainable
    set_trainable_flags(twin, trainable_flags(model))
    return twin


def _refuse_shared_parts(model: keras.Model) -> None:
    """Refuse a layer with weights within two layers of a model: each would get a copy of it."""
    owner: dict[int, keras.layers.Layer] = {}
    for layer in model.layers:
        for part in layer._flatten_layers():
            first = owner.setdefault(id(part), layer)
            if first is not layer and part.weights:
                raise _error(
                    f"{part.name!r} belongs to both {first.name!r} and {layer.name!r}, and each "
                    f"would get a copy of its own. Insert into {part.name!r} first, or let the "
                    "model call it itself, and build the model again.",
                    f"model {model.name!r}",
                )
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            _refuse_shared_parts(layer)


def _copy_state(layer: keras.layers.Layer, twin: keras.layers.Layer) -> None:
    """Copy all weights and assets of a layer, as saving and loading it would."""

    def parts(one: keras.layers.Layer) -> list[keras.layers.Layer]:
        """Return the layers with a state; two models may share others, such as an `Input`."""
        return [x for x in one._flatten_layers() if x.weights or hasattr(x, "save_assets")]

    pairs = zip(parts(layer), parts(twin), strict=True)
    for part, other in pairs:  # after `set_weights`, Normalization would not know its new mean
        weights: dict[str, Any] = {}
        part.save_own_variables(weights)
        # Copies: on JAX, training gives away what is shared.
        other.load_own_variables({key: keras.ops.copy(value) for key, value in weights.items()})
        if hasattr(part, "save_assets"):  # vocabularies
            with TemporaryDirectory() as folder:
                part.save_assets(folder)
                other.load_assets(folder)
