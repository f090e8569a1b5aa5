"""The weights of a layer as a table: name, shape, order, start value, the authors' name."""

from collections.abc import Iterator
from unittest import mock

import keras
import numpy as np
from attn_core._weights.entries import entries
from attn_core.catalog import LAYERS
from attn_core.layers import AttentionLayer

from scripts.tables.markdown import table

STATISTICS = ("moving_mean", "moving_variance")


def weights(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> str:
    """Return the table of the weights that a layer creates for an input of a shape."""
    starts = _built(layer, shape)
    theirs = _theirs(layer)
    orders = LAYERS[type(layer).__name__].orders
    composite = set(orders) | {"qkv", "key_value", "query_key_value"}
    rows = []
    for owner, variable in _variables(layer):
        path = variable.path.partition("/")[2]
        role = "" if owner.name in composite else _role(owner, layer)
        known = [orders[name] for name in (owner.name, path) if name in orders]
        order = "; ".join([*_axes(owner, variable, role), *known])
        start = starts.get(id(variable)) or _value(variable)
        start += ", a statistic: not trained" if variable.name in STATISTICS else ""
        size = " x ".join(map(str, variable.shape)) or "one number"
        rows.append([f"`{path}`", size, order, start, theirs.get(id(variable), "")])
    if not rows:
        return "The layer has no weights."
    return table(["Weight", "Shape", "Order of the axes", "Starts at", "In the reference"], rows)


def _built(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> dict[int, str]:
    """Build a layer; return by variable what its initializer is called."""
    starts: dict[int, str] = {}
    original = keras.layers.Layer.add_weight

    def add_weight(self, shape=None, initializer=None, *arguments, **options):
        variable = original(self, shape, initializer, *arguments, **options)
        starts[id(variable)] = _initializer(initializer)
        return variable

    with mock.patch.object(keras.layers.Layer, "add_weight", add_weight):
        layer.build(shape)
    return starts


def _initializer(initializer: object) -> str:
    """Return what an initializer is called, "" where its values say more."""
    one = keras.initializers.get("glorot_uniform" if initializer is None else initializer)
    spread = f"{getattr(one, 'stddev', 0):.3g}"
    names = {
        keras.initializers.GlorotUniform: "Glorot uniform",
        keras.initializers.HeNormal: "He normal",
        keras.initializers.TruncatedNormal: f"truncated normal, deviation {spread}",
        keras.initializers.RandomNormal: f"normal, deviation {spread}",
    }
    return names.get(type(one), "")


def _value(variable: keras.Variable) -> str:
    """Return the value of a variable where all its numbers are the same, or how they spread."""
    values = keras.ops.convert_to_numpy(variable)
    first = values.flat[0]
    if np.all(values == first):
        return f"{first:g}"
    return f"random, mean {values.mean():.2g}, deviation {values.std():.2g}"


def _variables(
    layer: keras.layers.Layer,
) -> Iterator[tuple[keras.layers.Layer, keras.Variable]]:
    """Yield each weight of a layer with the layer within that creates it."""
    owners = {
        id(variable): one
        for one in layer._flatten_layers()
        for variable in (*one._trainable_variables, *one._non_trainable_variables)
    }
    for variable in layer.weights:
        yield owners[id(variable)], variable


def _axes(owner: keras.layers.Layer, variable: keras.Variable, role: str) -> list[str]:
    """Return what the axes of a variable are, where its layer is one of Keras'."""
    name = variable.name
    if isinstance(owner, keras.layers.Dense):
        inputs, outputs = "inputs", "outputs"
        if role == "heads":
            outputs += ", head by head"
        if role == "head inputs":
            inputs += ", head by head"
        return [f"({inputs}; {outputs})" if name == "kernel" else f"({outputs})"]
    if isinstance(owner, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)):
        sides = ("row, column", "step")["1D" in type(owner).__name__]
        return [f"({sides}; channel; 1)" if name == "kernel" else "(channel)"]
    if isinstance(owner, (keras.layers.Conv1D, keras.layers.Conv2D)):
        sides = "step" if isinstance(owner, keras.layers.Conv1D) else "row, column"
        inputs = "inputs of a group" if owner.groups > 1 else "inputs"
        return [f"({sides}; {inputs}; outputs)" if name == "kernel" else "(outputs)"]
    normalizations = (
        keras.layers.BatchNormalization,
        keras.layers.LayerNormalization,
        keras.layers.GroupNormalization,
    )
    return ["(channel)"] if isinstance(owner, normalizations) else []


def _role(child: keras.layers.Layer, layer: keras.layers.Layer) -> str:
    """Return how the owner of a dense layer says that its kernel is split over devices."""
    for one in layer._flatten_layers():
        if isinstance(one, AttentionLayer) and child in one._layers:
            return one.split.get(child.name, "")
    return ""


def _theirs(layer: keras.layers.Layer) -> dict[int, str]:
    """Return by variable the reference's name of it, with its shape there."""
    if not hasattr(layer, "torch_names"):
        return {}
    found = {}
    for name, entry in entries(layer).items():
        shape = " x ".join(map(str, entry.shape))
        for index, variable in enumerate(entry.variables):
            several = len(entry.variables) > 1
            part = f", part {index + 1} of {len(entry.variables)}" if several else ""
            found[id(variable)] = f"`{name}`, {shape}{part}"
    return found
