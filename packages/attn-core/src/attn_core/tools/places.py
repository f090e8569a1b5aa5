"""The places in a model where attention is inserted, recognised from its graph alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import keras

from attn_core.layers.base import AttentionLayer

ACTIVATIONS = frozenset(("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Relu", "Gelu", "Silu"))
ADDITIONS = frozenset(("Add", "CustomScaleLayer"))  # the latter is InceptionResNetV2's
CONVOLUTIONS = frozenset(("Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv2D"))
DROPOUTS = frozenset(("Dropout", "SpatialDropout1D", "SpatialDropout2D", "StochasticDepth"))
"""Classes by name: a layer and the operation of `keras.ops` that does the same have one name."""

UNKNOWN_SIZE = 224
"""What stands for a height or width that a model leaves open: only changes of size matter."""


@dataclass(eq=False)
class Call:
    """One call of a layer, or of an operation of `keras.ops`, in the graph of a model.

    Attributes:
        layer: The layer or operation.
        inputs: The tensors that it receives.
        outputs: The tensors that it returns.
        parents: The calls that made the inputs; the model's own inputs have none.
        children: The calls that receive the output.
        depth: The number of calls on the longest way from an input of the model to here.
    """

    layer: keras.Operation
    inputs: list
    outputs: list
    parents: list["Call"]
    depth: int
    children: list["Call"] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return type(self.layer).__name__

    @property
    def shape(self) -> tuple:
        """The shape of the output, of the first if there are several."""
        return tuple(self.outputs[0].shape)

    @property
    def pools(self) -> bool:
        """Whether it is a pooling, global ones included."""
        return self.kind.endswith(("Pooling1D", "Pooling2D"))

    @property
    def ends(self) -> bool:
        """Whether it leaves no image, and no tokens: a global pooling, or a flattening."""
        return self.kind == "Flatten" or (self.pools and self.kind.startswith("Global"))

    @property
    def size(self) -> tuple:
        """Height and width of an image, or the number of tokens."""
        if len(self.shape) == 4 and self.nearest("data_format") == "channels_first":
            return self.shape[2:]
        return self.shape[1:-1]

    def nearest(self, attribute: str):
        """Return an attribute of the layer, or of the nearest one before it that has it."""
        call = self
        while not hasattr(call.layer, attribute):
            if not call.parents:
                return None
            call = call.parents[0]
        return getattr(call.layer, attribute)


class _Ghost(keras.Operation):
    """Stands for a layer in a copy of the graph, without weights."""

    def __init__(self, layer: keras.Operation):
        super().__init__(name=layer.name)
        self.layer = layer

    def compute_output_spec(self, *args, **kwargs):
        return self.layer.compute_output_spec(*args, **kwargs)


def copy_inputs(graph: keras.Model, unknown: int | None = None):
    """Return new inputs like those of a functional model.

    Args:
        graph: The model.
        unknown: What replaces sizes of images that the model leaves open; `None` leaves them so.
    """
    layers = [layer for layer in graph.layers if isinstance(layer, keras.layers.InputLayer)]
    named = {id(layer.output): layer for layer in layers}

    def copy(x):
        layer, shape = named[id(x)], x.shape
        if len(shape) == 4:
            shape = (shape[0], *(unknown if side is None else side for side in shape[1:]))
        return keras.Input(
            batch_shape=shape, dtype=x.dtype, name=layer.name, optional=layer.optional
        )

    return keras.tree.map_structure(copy, graph.input)


def trace(graph: keras.Model) -> list[Call]:
    """Return the calls in a functional model, in the order of `keras.models.clone_model`."""
    calls, maker = [], {}

    def call(ghost, *args, **kwargs):
        outputs = keras.tree.flatten(ghost(*args, **kwargs))
        tensors = keras.tree.flatten((args, kwargs))
        inputs = [x for x in tensors if isinstance(x, keras.KerasTensor)]
        parents = [maker[id(x)] for x in inputs if id(x) in maker]
        depth = 1 + max((parent.depth for parent in parents), default=0)
        calls.append(Call(ghost.layer, inputs, outputs, parents, depth))
        for parent in parents:
            parent.children.append(calls[-1])
        maker.update((id(x), calls[-1]) for x in outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    inputs = copy_inputs(graph, UNKNOWN_SIZE)
    keras.models.clone_model(graph, inputs, clone_function=_Ghost, call_function=call)
    return calls


def branch(addition: Call) -> Call | None:
    """Return the call whose output is added to its shortcut; `None` where that is not done.

    The branch is the longer way into the addition. Dropout at its end stays behind what is
    inserted, so that stochastic depth still drops the whole branch.
    """
    if addition.kind not in ADDITIONS or len(addition.inputs) < 2 or len(addition.shape) < 3:
        return None
    last = max(addition.parents, key=lambda call: call.depth, default=None)
    ways = [call for call in addition.parents if call.depth == last.depth]
    if len(ways) > 1 or last.shape != addition.shape:
        return None
    while last.kind in DROPOUTS and last.parents:
        last = last.parents[0]
    return last


def residual_branches(calls: list[Call]) -> list[Call]:
    """The end of each residual branch, before the addition."""
    return [end for end in map(branch, calls) if end is not None]


def blocks(calls: list[Call]) -> list[Call]:
    """The end of each block.

    Of a residual network: each addition, with the activation after it, and each linear bottleneck
    without addition. Of other networks: each concatenation, or where there is none, what is before
    each pooling.
    """
    if residual_branches(calls):
        ends = [call for call in calls if branch(call) is not None or _is_bottleneck(call)]
        return [_attended(_activated(call)) for call in ends]
    joins = [call for call in calls if call.kind == "Concatenate" and len(call.shape) > 2]
    joins = [call for call in joins if any(child.kind != call.kind for child in call.children)]
    pooled = [call for call in calls if not call.pools and _all(call.children, "pools")]
    if all(_all(call.children, "ends") for call in pooled):
        pooled = []  # the network's last pooling alone makes no blocks
    return joins or pooled


def _is_bottleneck(call: Call) -> bool:
    """Whether a 1x1 convolution and its norm feed convolutions without an activation between.

    So end the blocks of MobileNetV2, V3 and EfficientNet, those without an addition too.
    """
    if call.kind != "BatchNormalization" or not call.parents:
        return False
    before = getattr(call.parents[0].layer, "kernel_size", None)
    after = {child.kind for child in _attended(call).children}  # the next block, and its addition
    return before == (1, 1) and bool(after & CONVOLUTIONS) and after <= CONVOLUTIONS | ADDITIONS


def _activated(call: Call) -> Call:
    """Return the activation that alone follows the call, or else the call."""
    only = call.children[0] if len(call.children) == 1 else call
    return only if only.kind in ACTIVATIONS else call


def _attended(call: Call) -> Call:
    """Return the last attention that alone follows the call, or else the call."""
    while len(call.children) == 1 and isinstance(call.children[0].layer, AttentionLayer):
        call = call.children[0]
    return call


def stages(calls: list[Call]) -> list[Call]:
    """The last block of each spatial size."""
    neighbours = pairwise([*blocks(calls), None])
    return [this for this, after in neighbours if after is None or after.size != this.size]


def heads(calls: list[Call]) -> list[Call]:
    """What goes into the global pooling or flattening; or else the model's output."""
    found, behind = [], set()
    for call in calls:  # parents come first
        if behind.intersection(call.parents):
            behind.add(call)
        elif _all(call.children, "ends"):
            found.append(call)
            behind.update(call.children)
    return found or [call for call in calls if not call.children and len(call.shape) > 2]


def _all(calls: list[Call], condition: str) -> bool:
    """Whether there are calls, and all meet the condition."""
    return bool(calls) and all(getattr(call, condition) for call in calls)


PLACES: dict[str, Callable[[list[Call]], list[Call]]] = {
    "residual_branch": residual_branches,
    "block": blocks,
    "stage": stages,
    "head": heads,
}
"""The places, and the functions that find them among the calls of a model."""
