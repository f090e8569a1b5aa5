"""The places in a model where attention is inserted, recognised from its graph alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

import keras

from attn_core._typing import Shape
from attn_core.layers._base import AttentionLayer

ACTIVATIONS = frozenset(("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Relu", "Gelu", "Silu"))
ADDITIONS = frozenset(("Add", "CustomScaleLayer"))  # the latter is InceptionResNetV2's
CONVOLUTIONS = frozenset(("Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv2D"))
DROPOUTS = frozenset(("Dropout", "SpatialDropout1D", "SpatialDropout2D", "StochasticDepth"))
POOLINGS = ("Pooling1D", "Pooling2D", "Pooling3D", "MaxPool", "AveragePool")
REDUCTIONS = frozenset(("Mean", "Max", "Amax", "Sum", "Average"))
FLATTENINGS = frozenset(("Flatten", "Reshape"))
MERGES = ADDITIONS | {"Subtract", "Average", "Maximum", "Minimum", "Concatenate"}
NORMS = frozenset(("BatchNormalization", "LayerNormalization", "GroupNormalization"))
CLASSIFIERS = frozenset(("Dense", "EinsumDense", *CONVOLUTIONS)) | frozenset(
    ("Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "SeparableConv1D")
)
PROBABILITIES = frozenset(("softmax", "sigmoid", "hard_sigmoid", "log_softmax", "tanh"))
SQUASHINGS = frozenset(
    ("Softmax", "Sigmoid", "HardSigmoid", "LogSoftmax", "Tanh", "Argmax", "Greater", "GreaterEqual")
)
RESIZINGS = frozenset(("UpSampling1D", "UpSampling2D", "UpSampling3D", "Resizing", "Resize"))
RESHAPINGS = frozenset(("Reshape", "Permute", "Transpose", "Cropping2D", "ZeroPadding2D"))
SHUFFLINGS = frozenset(("DepthToSpace", "SpaceToDepth"))
FINISHES = (
    SQUASHINGS | RESIZINGS | RESHAPINGS | SHUFFLINGS | {"Identity", "Cast", "Clip", "Rescaling"}
)
"""Names of classes: a layer and the operation of `keras.ops` that does the same share a name."""

UNKNOWN_SIZE = 224
"""Replaces a height or width that a model leaves open: only changes of the size matter."""


@dataclass(eq=False)
class Call:
    """One call of a layer, or of an operation of `keras.ops`, in the graph of a model.

    Attributes:
        layer: The layer or operation.
        inputs: The tensors that it receives.
        outputs: The tensors that it returns.
        parents: The calls that made the inputs; inputs of the model have no such call.
        children: The calls that receive the output.
        depth: The number of calls on the longest path from an input of the model to this one.
        is_output: Whether its output is one of the model's.
    """

    layer: keras.Operation
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]
    parents: list["Call"]
    depth: int
    children: list["Call"] = field(default_factory=list)
    is_output: bool = False

    @property
    def core(self) -> keras.Operation:
        """The layer, or the one within a wrapper such as `TimeDistributed`."""
        return self.layer.layer if isinstance(self.layer, keras.layers.Wrapper) else self.layer

    @property
    def kind(self) -> str:
        """The name of the class of the layer, or of the one within a wrapper."""
        return type(self.core).__name__

    @property
    def shape(self) -> Shape:
        """The shape of the output, or of the first one if there are several."""
        return tuple(self.outputs[0].shape)

    @property
    def pools(self) -> bool:
        """Whether it is a pooling; global ones count too."""
        return self.kind.endswith(POOLINGS)

    @property
    def reduces(self) -> bool:
        """Whether it takes a mean or maximum over axes, which are no more in its output."""
        rank = len(self.inputs[0].shape) if self.inputs else 0
        return self.kind in REDUCTIONS and len(self.shape) < rank

    @property
    def ends(self) -> bool:
        """Whether it makes one position of several: a global pooling, or a flattening.

        A mean or maximum over all positions, as in `keras.ops.mean(x, (1, 2))`, is a pooling.
        """
        if not self.inputs or len(self.inputs[0].shape) < 3:
            return False
        pools = self.pools or self.kind in REDUCTIONS | FLATTENINGS
        return pools and all(side == 1 for side in self.size)

    @property
    def activation(self) -> str:
        """The name of the layer's own activation; empty if it has none."""
        return getattr(getattr(self.core, "activation", None), "__name__", "")

    @property
    def gives_probabilities(self) -> bool:
        """Whether it ends with an activation that is used for predictions, not for features."""
        return self.kind in SQUASHINGS or self.activation in PROBABILITIES

    @property
    def corrects_input(self) -> bool:
        """Whether it adds something to an input of the model, or subtracts it from that."""
        return self.kind in ("Add", "Subtract") and len(self.parents) < len(self.inputs)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels of the output."""
        first = len(self.shape) in (4, 5) and self.nearest("data_format") == "channels_first"
        return 1 if first else -1

    @property
    def joins_positions(self) -> bool:
        """Whether it concatenates along positions, as detectors do with their predictions."""
        axis = self.channel_axis
        channels = {one.shape[axis] for one in self.inputs}
        return self.kind == "Concatenate" and channels == {self.shape[axis]}

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights of the layer; operations have none."""
        return getattr(self.layer, "weights", [])

    @property
    def size(self) -> Shape:
        """The lengths of the axes of an image, a volume or a signal, or the number of tokens."""
        return self.shape[1:-1] if self.channel_axis == -1 else self.shape[2:]

    def nearest(self, attribute: str) -> Any:
        """Return an attribute of the layer, or of the nearest layer before it that has it."""
        call = self
        while not hasattr(call.layer, attribute):
            if not call.parents:
                return None
            call = call.parents[0]
        return getattr(call.layer, attribute)


class _Placeholder(keras.Operation):
    """Takes the place of a layer in a copy of the graph; it has no weights."""

    def __init__(self, layer: keras.Operation) -> None:
        super().__init__(name=layer.name)
        self.layer = layer

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_spec(*args, **kwargs)


def copy_inputs(graph: keras.Model, unknown: int | None = None) -> Any:
    """Return new inputs like those of a functional model.

    Args:
        graph: The model.
        unknown: Replaces the lengths of axes that the model leaves open; `None` leaves them open.
    """
    layers = [layer for layer in graph.layers if isinstance(layer, keras.layers.InputLayer)]
    named = {id(layer.output): layer for layer in layers}

    def copy(x: keras.KerasTensor) -> keras.KerasTensor:
        layer, shape = named[id(x)], x.shape
        if len(shape) in (4, 5):
            shape = (shape[0], *(unknown if side is None else side for side in shape[1:]))
        return keras.Input(
            batch_shape=shape, dtype=x.dtype, name=layer.name, optional=layer.optional
        )

    return keras.tree.map_structure(copy, graph.input)


def trace(graph: keras.Model) -> list[Call]:
    """Return the calls in a functional model, in the order of `keras.models.clone_model`."""
    calls: list[Call] = []
    maker: dict[int, Call] = {}  # the call that made a tensor, by the id of the tensor

    def call(placeholder: _Placeholder, *args: Any, **kwargs: Any) -> Any:
        outputs = keras.tree.flatten(placeholder(*args, **kwargs))
        tensors = keras.tree.flatten((args, kwargs))
        inputs = [x for x in tensors if isinstance(x, keras.KerasTensor)]
        parents = [maker[id(x)] for x in inputs if id(x) in maker]
        depth = 1 + max((parent.depth for parent in parents), default=0)
        calls.append(Call(placeholder.layer, inputs, outputs, parents, depth))
        for parent in parents:
            parent.children.append(calls[-1])
        maker.update((id(x), calls[-1]) for x in outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    inputs = copy_inputs(graph, UNKNOWN_SIZE)
    copy = keras.models.clone_model(graph, inputs, clone_function=_Placeholder, call_function=call)
    for x in copy.outputs:
        if id(x) in maker:
            maker[id(x)].is_output = True
    return calls


def branch(addition: Call) -> Call | None:
    """Return the last call of a residual branch, given its addition; `None` if it is no such sum.

    The branch is the longer path into the addition. What is inserted goes before a dropout at the
    end of the branch, so that stochastic depth still drops the whole branch.
    """
    if addition.kind not in ADDITIONS or len(addition.inputs) < 2 or len(addition.shape) < 3:
        return None
    last = max(addition.parents, key=lambda call: call.depth, default=None)
    longest = [call for call in addition.parents if call.depth == last.depth]
    if len(longest) > 1 or last.shape != addition.shape:
        return None
    while last.kind in DROPOUTS and last.parents:
        last = last.parents[0]
    return last


def residual_branches(calls: list[Call]) -> list[Call]:
    """Return the end of each residual branch, before the addition."""
    return [end for end in map(branch, calls) if end is not None]


def blocks(calls: list[Call]) -> list[Call]:
    """Return the end of each block.

    In a residual network these are each addition, with the activation after it, and each linear
    bottleneck without addition. In other networks these are each concatenation, or, if there is no
    concatenation, the calls before each pooling.
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
    """Return whether a 1x1 convolution and its norm feed convolutions, with no activation between.

    The blocks of MobileNetV2, V3 and EfficientNet end in this way, with or without an addition.
    """
    if call.kind != "BatchNormalization" or not call.parents:
        return False
    before = getattr(call.parents[0].core, "kernel_size", None)
    after = {child.kind for child in _attended(call).children}  # the next block, and its addition
    return before == (1, 1) and bool(after & CONVOLUTIONS) and after <= CONVOLUTIONS | ADDITIONS


def _activated(call: Call) -> Call:
    """Return the activation that follows the call, if nothing else does; or else the call."""
    only = call.children[0] if len(call.children) == 1 else call
    return only if only.kind in ACTIVATIONS else call


def _attended(call: Call) -> Call:
    """Return the last attention that follows the call, if nothing else does; or else the call."""
    while len(call.children) == 1 and isinstance(call.children[0].layer, AttentionLayer):
        call = call.children[0]
    return call


def stages(calls: list[Call]) -> list[Call]:
    """Return the last block of each height and width."""
    neighbours = pairwise([*blocks(calls), None])
    return [this for this, after in neighbours if after is None or after.size != this.size]


def heads(calls: list[Call]) -> list[Call]:
    """Return the last features: what goes into the global pooling or flattening, if there is one.

    Otherwise the model predicts for each position, and its last features go into its classifier;
    or its output are the last features. A classifier may also come before the pooling. Where
    probabilities come from no known classifier, the features are not known.
    """
    ends = _pooled(calls) or [call for call in calls if not call.children and len(call.shape) > 2]
    classifiers = {end: _classifiers(end) for end in ends}
    found: dict[Call, None] = {}
    for end, ones in classifiers.items():
        if ones:
            found |= dict.fromkeys(parent for one in ones for parent in one.parents[:1])
        elif not end.gives_probabilities or end.weights:
            found[end] = None
    known = {*chain(*classifiers.values()), *_behind(*ends)}
    last = [call for call in found if known.issuperset(call.children)]
    return last or list(found)  # features that go into later ones too are not the last


def _classifiers(end: Call) -> list[Call]:
    """Return the layers that turn features into the predictions that a call ends, if it does.

    They are convolutions or dense layers, behind which there are only layers without weights. What
    becomes probabilities may also pass norms, and be the sum of several predictions. Where the
    graph does not tell predictions from features, they are features.
    """
    later = _behind(end)
    if any(call.weights for call in later):
        return []
    found: dict[Call, None] = {}
    waiting = [(end, any(call.gives_probabilities for call in later), True)]
    while waiting:
        call, probable, direct = waiting.pop()
        probable = probable or call.gives_probabilities
        if call.kind in CLASSIFIERS:
            # What goes into a pooling may be the output of a convolution, and still be features.
            pointwise = set(getattr(call.core, "kernel_size", (1,))) == {1}
            linear = direct and call.activation in ("linear", "")
            if not (probable or (linear and (pointwise or not end.children))):
                return []
            found[call] = None
        elif call.parents and call.kind in FINISHES | ACTIVATIONS | DROPOUTS | NORMS | MERGES:
            keeps = call.kind in FINISHES | DROPOUTS or call.corrects_input or call.joins_positions
            direct = direct and keeps
            if call.kind == "Concatenate":  # probabilities are not joined to features
                probable = probable or any(one.gives_probabilities for one in call.parents)
            waiting += [(parent, probable, direct) for parent in call.parents]
        else:
            return []
    return list(found)


def last_weighted(ends: list[Call]) -> list[Call]:
    """Return, for calls behind which there are no weights, the last call before each that has."""
    found = []
    for call in ends:
        if not any(one.weights for one in _behind(call)):
            while not call.weights and len(call.parents) == 1:
                call = call.parents[0]
            found.append(call)
    return found


def _behind(*calls: Call) -> list[Call]:
    """Return all calls that depend on any of the given ones."""
    found: dict[Call, None] = {}
    waiting = [child for call in calls for child in call.children]
    while waiting:
        child = waiting.pop()
        if child not in found:
            found[child] = None
            waiting += child.children
    return list(found)


def _pooled(calls: list[Call]) -> list[Call]:
    """Return what goes into the last global pooling or flattening."""
    found: list[Call] = []
    behind: set[Call] = set()
    for call in calls:  # parents come first
        if call in behind or behind.intersection(call.parents):
            behind.add(call)
        elif _all(call.children, "ends"):
            behind.update(call.children)
            while call.reduces and call.parents:
                call = call.parents[0]  # one axis after the other
            found.append(call)
    return found


def _all(calls: list[Call], condition: str) -> bool:
    """Return whether there are calls, and all of them meet the condition."""
    return bool(calls) and all(getattr(call, condition) for call in calls)


PLACES: dict[str, Callable[[list[Call]], list[Call]]] = {
    "residual_branch": residual_branches,
    "block": blocks,
    "stage": stages,
    "head": heads,
}
"""The places, and the functions that find them among the calls of a model."""
