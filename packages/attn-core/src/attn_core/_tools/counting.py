"""Multiply-adds and activation memory, counted from the Keras operations that a layer calls.

The layer runs once, symbolically, through all layers in it down to `keras.ops`. Nothing is
computed, and the numbers follow from the mathematics: they are the same on all backends, whatever
each backend does for an operation.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import log2, prod
from typing import Any, TypeAlias

import keras

from attn_core._ops.lowering import as_written

_lock = threading.Lock()


@dataclass(frozen=True)
class Count:
    """What a forward pass costs.

    Attributes:
        multiply_adds: Number of multiply-adds, by kind of operation.
        uncounted: Names of layers and operations in which nothing could be counted.
        peak_bytes: The largest size, at one time, of all tensors that are still needed.
        saved_bytes: The size of all tensors together, which a backward pass may need.
        output_shape: Shape of the output, or of each output if there are several.
    """

    multiply_adds: dict[str, int]
    uncounted: tuple[str, ...]
    peak_bytes: int
    saved_bytes: int
    output_shape: tuple[Any, ...]


def count(layer: keras.layers.Layer, input_shape: tuple[int, ...]) -> Count:
    """Count what the forward pass of a layer or model costs, on one input of `input_shape`.

    The layer is built if it is not built yet, and not changed otherwise.
    """
    trace = _Trace()
    given = keras.KerasTensor(input_shape, dtype=_input_dtype(layer))
    with _lock, as_written(), _watching(trace):
        outputs = _symbolically(lambda: keras.tree.flatten(layer(given)))
    peak, saved = trace.memory(given, outputs)
    shapes = tuple(tuple(one.shape) for one in outputs)
    return Count(
        trace.multiply_adds(),
        tuple(sorted(trace.uncounted)),
        peak,
        saved,
        shapes[0] if len(shapes) == 1 else shapes,
    )


def _symbolically(run: Callable[[], Any]) -> Any:
    """Return what `run` returns.

    On JAX it runs within a trace: otherwise each small operation on weights would be compiled.
    """
    if keras.config.backend() != "jax":
        return run()
    returned: list[Any] = []
    with keras.StatelessScope():  # weights that are created get their values on leaving it
        import_module("jax").eval_shape(lambda: returned.append(run()))
    return returned[0]


def _input_dtype(layer: keras.layers.Layer) -> str:
    inputs = getattr(layer, "inputs", None)  # a functional model may take integers
    return inputs[0].dtype if inputs else keras.config.floatx()


State: TypeAlias = tuple[Counter[str], int, int]
"""The counted numbers, and how many steps and products there were."""


class _Trace:
    """The operations of one symbolic forward pass, in order."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.uncounted: set[str] = set()
        self.steps: list[tuple[list[Any], list[Any]]] = []  # inputs and outputs of each operation
        self.views: dict[int, int] = {}  # from a reshaped tensor to the one with its numbers
        # By elementwise product: its size, and for each use of it whether that is a sum.
        self.products: dict[int, tuple[int, list[bool]]] = {}
        self.abandoned: list[tuple[list[Any], list[Any]]] = []

    def record(self, operation: keras.Operation, inputs: Any, outputs: Any) -> None:
        """Note an operation, and count its multiply-adds."""
        kind = type(operation).__name__
        inputs = [x for x in keras.tree.flatten(inputs) if hasattr(x, "shape")]
        outputs = keras.tree.flatten(outputs)
        self.steps.append((inputs, outputs))  # keeps them alive, and their ids unique
        if kind in _VIEWS and inputs[0].dtype == outputs[0].dtype:
            self.views[id(outputs[0])] = self.source(inputs[0])
            return
        # A sum with a constant or a weight is the offset of a norm, not a sum of products.
        sums = kind in _SUMS and all(keras.utils.is_keras_tensor(x) for x in inputs)
        for x in inputs:
            if self.source(x) in self.products:
                self.products[self.source(x)][1].append(sums)
        if kind == "Multiply" and len(inputs) == 2:  # the other may be a plain number
            self.products[id(outputs[0])] = _size(outputs[0]), []
        elif kind in _COUNTED:
            name, formula = _COUNTED[kind]
            self.counted[name] += round(formula(operation, inputs, outputs[0]))
        elif kind in _UNCOUNTED:
            self.uncounted.add(kind)

    def state(self) -> State:
        """Return the state to which `abandon` can go back."""
        return self.counted.copy(), len(self.steps), len(self.products)

    def abandon(self, state: State) -> None:
        """Go back to an earlier state: what a layer did before it failed does not count."""
        self.counted, steps, products = state
        self.abandoned += self.steps[steps:]  # their ids stay taken
        del self.steps[steps:]
        for product in list(self.products)[products:]:
            del self.products[product]

    def multiply_adds(self) -> dict[str, int]:
        """Return the numbers, by kind of operation.

        An elementwise product counts if it is used in sums only: then it is a multiplication and an
        addition. A gate is a multiplication only, and does not count.
        """
        summed = sum(size for size, uses in self.products.values() if uses and all(uses))
        return {**self.counted, **({"sums of products": summed} if summed else {})}

    def source(self, x: Any) -> int:
        """Return the id of the tensor whose numbers `x` has: of another one if `x` is a reshape."""
        return self.views.get(id(x), id(x))

    def memory(self, given: Any, outputs: list[Any]) -> tuple[int, int]:
        """Return peak and sum of the bytes of all tensors; a reshaped tensor takes no bytes."""
        sizes: dict[int, int] = {}
        last: dict[int, int] = {}  # the step that uses a tensor last
        for step, (inputs, made) in enumerate(self.steps):
            for x in (*inputs, *made):
                if keras.utils.is_keras_tensor(x):
                    sizes.setdefault(self.source(x), _bytes(x))
                    last[self.source(x)] = step
        kept = {self.source(x) for x in (given, *outputs)}  # the caller holds them
        for x in (given, *outputs):
            sizes.setdefault(self.source(x), _bytes(x))
        alive = {self.source(given)}
        peak = sum(sizes[x] for x in alive | kept) if not self.steps else 0
        for step, (_, made) in enumerate(self.steps):
            alive |= {self.source(x) for x in made}
            peak = max(peak, sum(sizes[x] for x in alive))
            alive = {x for x in alive if x in kept or last[x] > step}
        return peak, sum(sizes.values())


@contextmanager
def _watching(trace: _Trace) -> Iterator[None]:
    """In this thread, run the `call` of layers that are called symbolically; note all operations.

    Keras only describes the result of a symbolic layer call, without looking into the layer, and
    adds a node to a graph for each operation. Here the layer's `call` runs instead, and each
    operation becomes a step of the trace.
    """
    thread = threading.get_ident()
    visited: dict[int, tuple[keras.layers.Layer, int, int]] = {}
    describing = False  # some operations ask others for their shape
    describe_operation = keras.Operation.symbolic_call
    describe_layer = keras.layers.Layer.symbolic_call

    def run_operation(self: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return describe_operation(self, *args, **kwargs)
        nonlocal describing
        if describing:
            return self.compute_output_spec(*args, **kwargs)
        describing = True
        try:
            outputs = _describe(self, args, kwargs)
        finally:
            describing = False
        trace.record(self, (args, kwargs), outputs)
        return outputs

    def run_layer(self: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return describe_layer(self, *args, **kwargs)
        visited.setdefault(id(self), (self, len(self._inbound_nodes), len(self._outbound_nodes)))
        state = trace.state()
        try:
            return self.call(*args, **kwargs)
        except Exception as error:
            if isinstance(error, ValueError) and "A KerasTensor" not in str(error):
                raise  # bad input
            # It calls a backend directly, and not Keras: nothing inside can be counted.
            trace.abandon(state)
            trace.uncounted.add(self.name)
            outputs = self.compute_output_spec(*args, **kwargs)
            trace.steps.append((keras.tree.flatten((args, kwargs)), keras.tree.flatten(outputs)))
            return outputs

    changes = [
        (keras.Operation, "symbolic_call", run_operation),
        (keras.layers.Layer, "symbolic_call", run_layer),
        # In `weight * x` Python asks the weight first, which would pass x to the backend.
        *((keras.Variable, name, _deferring(name)) for name in _ARITHMETIC),
        (keras.KerasTensor, "__jax_array__", None),  # so that JAX's arrays leave it to x too
    ]
    with ExitStack() as stack:
        for owner, name, value in changes:
            stack.enter_context(_replaced(owner, name, value))
        try:
            yield
        finally:
            # A layer call adds its node nevertheless, which `summary()` would show.
            for layer, inbound, outbound in visited.values():
                del layer._inbound_nodes[inbound:]
                del layer._outbound_nodes[outbound:]


def _describe(operation: keras.Operation, args: Any, kwargs: Any) -> Any:
    """Return the symbolic result of an operation."""
    if type(operation).__name__ == "Conv":  # Keras refuses groups here: describe one group
        x, kernel = args
        shape = list(x.shape)
        channels_first = operation.data_format == "channels_first"
        shape[1 if channels_first else -1] = kernel.shape[-2]
        args = (keras.KerasTensor(shape, dtype=x.dtype), kernel)
    if type(operation).__name__ == "Take":  # Keras makes an array of indices, which JAX may trace
        x, indices = args
        args = (x, keras.KerasTensor(keras.ops.shape(indices), dtype="int32"))
    return operation.compute_output_spec(*args, **kwargs)


_ARITHMETIC = [
    f"__{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
]


def _deferring(name: str) -> Callable[..., Any]:
    """Return an operator of variables that leaves symbolic operands to the operand's operator."""
    operate = getattr(keras.Variable, name)

    def deferring(self: keras.Variable, other: Any) -> Any:
        return NotImplemented if keras.utils.is_keras_tensor(other) else operate(self, other)

    return deferring


@contextmanager
def _replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of a class for a while."""
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def _size(x: Any) -> int:
    return prod(x.shape)


def _bytes(x: Any) -> int:
    bits = re.search(r"\d+", x.dtype)
    return _size(x) * (int(bits[0]) // 8 if bits else 1)


# Multiply-adds of one operation: (operation, inputs, output) -> number.

Formula: TypeAlias = Callable[[Any, list[Any], Any], float]


def _matmul(operation: Any, inputs: list[Any], output: Any) -> int:
    return _size(output) * inputs[0].shape[-1]


def _contract(operation: Any, inputs: list[Any], output: Any) -> float:
    """Return the square root of MK * KN * MN, for (M, K) and (K, N) with axes in any order."""
    return (_size(inputs[0]) * _size(inputs[1]) * _size(output)) ** 0.5


def _einsum(operation: Any, inputs: list[Any], output: Any) -> int:
    """Return the number of combinations of all indices: each is a product that is summed."""
    lengths: dict[str, int] = {}
    free = 1
    terms = operation.subscripts.replace(" ", "").partition("->")[0].split(",")
    for term, x in zip(terms, inputs, strict=True):
        before, dots, after = term.partition("...")
        lengths |= zip(before, x.shape, strict=False)
        lengths |= zip(reversed(after), reversed(x.shape), strict=False)
        free = max(free, prod(x.shape[len(before) : len(x.shape) - len(after)])) if dots else free
    return prod(lengths.values()) * free * (len(inputs) - 1)


def _conv(operation: Any, inputs: list[Any], output: Any) -> int:
    *window, _ = inputs[1].shape  # (..., inputs of a group, outputs)
    return _size(output) * prod(window)


def _depthwise_conv(operation: Any, inputs: list[Any], output: Any) -> int:
    *window, _, _ = inputs[1].shape  # (..., inputs, multiplier)
    return _size(output) * prod(window)


def _separable_conv(operation: Any, inputs: list[Any], output: Any) -> int:
    *window, channels, multiplier = inputs[1].shape
    filters = inputs[2].shape[-1]
    between = _size(output) // filters * channels * multiplier
    return between * (prod(window) + filters)


def _conv_transpose(operation: Any, inputs: list[Any], output: Any) -> int:
    *window, _ = inputs[1].shape  # (..., outputs, inputs)
    return _size(inputs[0]) * prod(window)


def _attention(operation: Any, inputs: list[Any], output: Any) -> int:
    query, key, value = inputs[:3]
    pairs = query.shape[0] * query.shape[1] * key.shape[1] * query.shape[2]
    return pairs * (query.shape[3] + value.shape[3])


def _fourier(real: bool = False, axes: int = 1) -> Formula:
    """Return the formula of a transform: 2 n log2(n) for n complex points.

    These are n / 2 * log2(n) complex products, of 4 real products each. A transform from or to n
    real points takes half.
    """

    def formula(operation: Any, inputs: list[Any], output: Any) -> float:
        longer = max(inputs[0], output, key=_size)
        return (1 if real else 2) * _size(longer) * log2(max(1, prod(longer.shape[-axes:])))

    return formula


_COUNTED: dict[str, tuple[str, Formula]] = {
    "Matmul": ("matrix products", _matmul),
    "Dot": ("matrix products", _contract),
    "Inner": ("matrix products", _contract),
    "Outer": ("matrix products", _contract),
    "Vdot": ("matrix products", _contract),
    "Tensordot": ("matrix products", _contract),
    "Einsum": ("matrix products", _einsum),
    "DotProductAttention": ("matrix products", _attention),
    "Conv": ("convolutions", _conv),
    "DepthwiseConv": ("convolutions", _depthwise_conv),
    "SeparableConv": ("convolutions", _separable_conv),
    "ConvTranspose": ("convolutions", _conv_transpose),
    "FFT": ("Fourier transforms", _fourier()),
    "FFT2": ("Fourier transforms", _fourier(axes=2)),
    "IFFT2": ("Fourier transforms", _fourier(axes=2)),
    "RFFT": ("Fourier transforms", _fourier(real=True)),
    "IRFFT": ("Fourier transforms", _fourier(real=True)),
}
"""The kind, as it is shown, and the formula of each operation, by the name of its class."""

_UNCOUNTED = (
    "AssociativeScan", "Cholesky", "Cond", "Det", "Eig", "Eigh", "ForiLoop", "ISTFT", "Inv", "Kron",
    "LuFactor", "Lstsq", "Map", "Qr", "SVD", "STFT", "Scan", "Solve", "SolveTriangular", "Switch",
    "VectorizedMap", "WhileLoop",
)  # fmt: skip
"""Operations with products inside that are not counted here."""

_SUMS = ("Add", "Mean", "Subtract", "Sum")

_VIEWS = ("Cast", "ConvertToTensor", "ExpandDims", "Reshape", "Squeeze", "StopGradient")
"""Operations that only change the shape, unless they change the dtype too."""
