"""Attention, inserted into a model that exists."""

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import count

import keras

from attn_core import catalog, layers
from attn_core.layers.base import ImageLayer, TokenLayer
from attn_core.tools.places import PLACES, Call, copy_inputs, trace


def insert_attention(
    model: keras.Model,
    attention: str | type | Callable,
    where: str | Callable,
    **config,
) -> keras.Model:
    """Return a copy of a model with attention inserted after the layers asked for.

    The copy is a functional model with weights of its own: those of the model's layers, whether
    they are trainable, and new ones for the attention. The model itself stays as it is. The copy
    is not compiled.

    Args:
        model: A functional or a built sequential model.
        attention: What to insert: the name of a mechanism ("cbam", "SEAttention"), a layer class,
            or a function that receives the layer to insert after and returns a layer; that layer's
            name, data format and dtype are the function's to choose.
        where: After which layers: one of the places below, a layer's name, a pattern of names
            ("conv5_*_out"), or a function that receives a layer, or an operation of `keras.ops`,
            and returns whether it is wanted. The places are recognised from the graph:

            - "residual_branch": the end of each residual branch, before the addition.
            - "block": each block: each residual addition and what activates it, and each linear
              bottleneck without addition; in networks without residual branches each
              concatenation, or else what goes into each pooling.
            - "stage": the last block of each height and width.
            - "head": what goes into the global pooling or flattening that ends the network, or
              else its output.
        **config: Arguments of the attention, the same at all places; a function receives them too.

    Returns:
        The copy. The attention after layer `name` is called `name_key`: the mechanism's key in the
        catalog, or the class in small letters. Layers on tokens, `(B, N, C)`, receive the positions
        of an image, between two reshapes.

    Raises:
        ValueError: If the model's graph is not known, `attention` or `where` is not as described,
            nothing is found there, or the attention does not fit: it needs another input, or
            changes the shape.

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
    attentions = {}
    for call in wanted:  # a layer that is called twice gets one attention, called twice
        if call.layer not in attentions:
            attentions[call.layer] = make(call, taken)

    twins, order = [], iter(calls)

    def copy(layer):
        twins.append((layer, type(layer).from_config(layer.get_config())))
        return twins[-1][1]

    def call(layer, *args, **kwargs):
        outputs, this = layer(*args, **kwargs), next(order)
        return _attend(attentions[this.layer], outputs, this, taken) if this in wanted else outputs

    result = keras.models.clone_model(
        graph, copy_inputs(graph), clone_function=copy, call_function=call
    )
    for layer, twin in twins:
        if isinstance(layer, keras.layers.Layer):
            _copy_weights(layer, twin)
    return result


def _error(message: str, received) -> ValueError:
    return ValueError(f"insert_attention: {message} Received: {received}")


def _functional(model) -> keras.Model:
    """Return a plain functional model of the same layers: not compiled, of no class of its own."""
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


def _maker(attention, config: dict) -> Callable[[Call, set], keras.layers.Layer]:
    """Return the function that makes the attention after a call, of a name not yet taken."""
    if isinstance(attention, str):
        mechanism = catalog.get(attention)
        named = [name for name in mechanism.layers if name.casefold() == attention.casefold()]
        attention = getattr(layers, (named or mechanism.layers)[0])
    if isinstance(attention, keras.layers.Layer) or not callable(attention):
        raise _error(
            "`attention` must be the name of a mechanism, a layer class, or a function that "
            "returns a layer: every place needs a layer of its own.",
            f"attention={attention!r}",
        )

    def from_class(call, taken):
        options = {"name": _unique(f"{call.layer.name}_{_key(attention)}", taken)}
        options["dtype"] = call.nearest("dtype_policy")
        if issubclass(attention, ImageLayer):
            options["data_format"] = call.nearest("data_format")
        return attention(**{**options, **config})

    def from_function(call, taken):
        layer = attention(call.layer, **config)
        if not isinstance(layer, keras.layers.Layer):
            raise _error(
                f"`attention` must return a layer, also after {call.layer.name!r}.", f"{layer!r}"
            )
        return layer

    return from_class if isinstance(attention, type) else from_function


def _key(layer_class: type) -> str:
    """Return what the names of a class's layers end in."""
    mechanism = catalog.find(layer_class.__name__)
    return mechanism.key.replace("-", "_") if mechanism else layer_class.__name__.lower()


def _unique(name: str, taken: set) -> str:
    """Return the name, numbered if it is taken, and take it."""
    if name in taken:
        name = next(f"{name}_{i}" for i in count(2) if f"{name}_{i}" not in taken)
    taken.add(name)
    return name


def _choose(calls: list[Call], where, model) -> list[Call]:
    """Return the calls after which to insert."""
    received = f"where={where!r}"
    if isinstance(where, str) and where in PLACES:
        inner = [] if where == "head" else _nested(calls, where)
        if inner:
            raise _error(
                f"the nested model {inner[0]!r} has places of its own, which are not looked into: "
                "insert into it first, then build the model around it.",
                received,
            )
        found = PLACES[where](calls)
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
    """Return the names of the models within the model that have a place."""
    models = dict.fromkeys(call.layer for call in calls if isinstance(call.layer, keras.Model))
    known = [model for model in models if getattr(model, "inputs", None)]
    return [model.name for model in known if PLACES[place](trace(_functional(model)))]


def _attend(attention: keras.layers.Layer, x, call: Call, taken: set):
    """Return the tensor after a call, attended: an image's positions, if these are tokens."""
    if not isinstance(x, keras.KerasTensor):
        raise _error("the layer must give one tensor.", f"layer {call.layer.name!r}")
    if not isinstance(attention, TokenLayer) or len(x.shape) != 4:
        return _keep_shape(attention, x)
    last = call.nearest("data_format") != "channels_first"
    height, width, channels = x.shape[1:] if last else (*x.shape[2:], x.shape[1])
    if None in (height, width):
        raise _error(
            f"{type(attention).__name__} takes tokens, and height and width must be known to make "
            "tokens of an image.",
            f"shape {tuple(x.shape)} after layer {call.layer.name!r}",
        )

    def between(layer_class, argument, name):
        name = _unique(f"{attention.name}_{name}", taken)
        return layer_class(argument, name=name, dtype=attention.dtype_policy)

    reshape, permute = keras.layers.Reshape, keras.layers.Permute
    if not last:
        x = between(permute, (2, 3, 1), "channels_last")(x)
    x = between(reshape, (height * width, channels), "tokens")(x)
    x = _keep_shape(attention, x)
    x = between(reshape, (height, width, channels), "image")(x)
    return x if last else between(permute, (3, 1, 2), "channels_first")(x)


def _keep_shape(attention: keras.layers.Layer, x):
    """Call the attention, and check that the rest of the model can take its output."""
    output = attention(x)
    shape = tuple(getattr(output, "shape", ()))
    if shape != tuple(x.shape):
        raise _error(
            f"the attention must keep the shape, {tuple(x.shape)}.",
            f"{type(attention).__name__} {attention.name!r}, whose output has shape {shape}",
        )
    return output


def _copy_weights(layer: keras.layers.Layer, twin: keras.layers.Layer) -> None:
    """Copy all weights of a layer, as saving and loading it would."""
    pairs = zip(layer._flatten_layers(), twin._flatten_layers(), strict=True)
    for part, other in pairs:  # `set_weights` would not tell Normalization, for one
        weights = {}
        part.save_own_variables(weights)
        # Copies: on JAX, training gives away what is shared.
        other.load_own_variables({key: keras.ops.copy(value) for key, value in weights.items()})
