"""Multiply-adds and activation memory, read off the Keras operations that a layer calls.

The layer runs once, symbolically, in every layer within it down to `keras.ops`. Nothing is
computed, and the numbers are those of the mathematics: the same on all backends, however each of
them lowers an operation.
"""

import re
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import log2, prod

import keras

from attn_core.ops.lowering import as_written

_lock = threading.Lock()


@dataclass(frozen=True)
class Count:
    """What a forward pass takes.

    Attributes:
        multiply_adds: Number of multiply-adds, by kind of operation.
        uncounted: Layers and operations in which nothing could be counted, by name.
        peak_bytes: The most that lives at one time of input, output and what lies between.
        saved_bytes: All of it together: what a backward pass may need.
        output_shape: Shape of the output, or of each of them.
    """

    multiply_adds: dict[str, int]
    uncounted: tuple[str, ...]
    peak_bytes: int
    saved_bytes: int
    output_shape: tuple


def count(layer: keras.layers.Layer, input_shape: tuple) -> Count:
    """Count what the forward pass of a layer or model takes, on one input of `input_shape`.

    Builds the layer where it is not built; changes nothing else about it.
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


def _symbolically(run):
    """Return what `run` returns: on JAX out of a trace, which does not compute with weights.

    Each small operation on them would be compiled for itself.
    """
    if keras.config.backend() != "jax":
        return run()
    returned = []
    with keras.StatelessScope():  # weights that are created get their values on leaving it
        import_module("jax").eval_shape(lambda: returned.append(run()))
    return returned[0]


def _input_dtype(layer) -> str:
    inputs = getattr(layer, "inputs", None)  # of a functional model: token numbers, say
    return inputs[0].dtype if inputs else keras.config.floatx()


class _Trace:
    """The operations of one symbolic forward pass, in order."""

    def __init__(self):
        self.counted = Counter()
        self.uncounted = set()
        self.steps = []  # inputs and outputs of each operation
        self.views = {}  # from a reshaped tensor to that whose numbers it shows
        self.products = {}  # of each elementwise product: its size, whether each use is a sum
        self.abandoned = []

    def record(self, operation, inputs, outputs):
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

    def state(self):
        return self.counted.copy(), len(self.steps), len(self.products)

    def abandon(self, state):
        """Go back to an earlier state: what a layer did before it gave up does not count."""
        self.counted, steps, products = state
        self.abandoned += self.steps[steps:]  # their ids stay taken
        del self.steps[steps:]
        for product in list(self.products)[products:]:
            del self.products[product]

    def multiply_adds(self) -> dict[str, int]:
        """Return the numbers, by kind of operation.

        An elementwise product that goes into sums alone is a multiplication and an addition; a gate
        is a multiplication.
        """
        summed = sum(size for size, uses in self.products.values() if uses and all(uses))
        return {**self.counted, **({"sums of products": summed} if summed else {})}

    def source(self, x) -> int:
        return self.views.get(id(x), id(x))

    def memory(self, given, outputs) -> tuple[int, int]:
        """Return peak and sum of the bytes of all tensors; reshaped ones take none."""
        sizes, last = {}, {}
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
def _watching(trace: _Trace):
    """Run symbolic layers inside and out, and note the operations, in this thread.

    Keras describes the result of a symbolic layer call without looking into the layer, and that of
    an operation by a node of a graph. Here a layer's `call` runs instead, and a node is a line in
    the trace.
    """
    thread = threading.get_ident()
    visited = {}
    describing = False  # some operations ask others for their shape
    describe_operation = keras.Operation.symbolic_call
    describe_layer = keras.layers.Layer.symbolic_call

    def run_operation(self, *args, **kwargs):
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

    def run_layer(self, *args, **kwargs):
        if threading.get_ident() != thread:
            return describe_layer(self, *args, **kwargs)
        visited.setdefault(id(self), (self, len(self._inbound_nodes), len(self._outbound_nodes)))
        state = trace.state()
        try:
            return self.call(*args, **kwargs)
        except Exception as error:
            if isinstance(error, ValueError) and "A KerasTensor" not in str(error):
                raise  # bad input
            # It speaks to a backend rather than to Keras: nothing can be seen inside.
            trace.abandon(state)
            trace.uncounted.add(self.name)
            outputs = self.compute_output_spec(*args, **kwargs)
            trace.steps.append((keras.tree.flatten((args, kwargs)), keras.tree.flatten(outputs)))
            return outputs

    changes = [
        (keras.Operation, "symbolic_call", run_operation),
        (keras.layers.Layer, "symbolic_call", run_layer),
        # In `weight * x` the weight is asked first, and would hand x to the backend.
        *((keras.Variable, name, _deferring(name)) for name in _ARITHMETIC),
        (keras.KerasTensor, "__jax_array__", None),  # JAX's arrays too leave it to x then
    ]
    with ExitStack() as stack:
        for owner, name, value in changes:
            stack.enter_context(_replaced(owner, name, value))
        try:
            yield
        finally:
            # A layer call leaves its node all the same, which `summary()` would show.
            for layer, inbound, outbound in visited.values():
                del layer._inbound_nodes[inbound:]
                del layer._outbound_nodes[outbound:]


def _describe(operation, args, kwargs):
    """Return the symbolic result of an operation."""
    if type(operation).__name__ == "Conv":  # Keras takes groups for an error: describe one group
        x, kernel = args
        shape = list(x.shape)
        channels_first = operation.data_format == "channels_first"
        shape[1 if channels_first else -1] = kernel.shape[-2]
        args = (keras.KerasTensor(shape, dtype=x.dtype), kernel)
    return operation.compute_output_spec(*args, **kwargs)


_ARITHMETIC = [
    f"__{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
]


def _deferring(name: str):
    """Return an operator of variables that leaves symbolic operands to their own operator."""
    operate = getattr(keras.Variable, name)

    def deferring(self, other):
        return NotImplemented if keras.utils.is_keras_tensor(other) else operate(self, other)

    return deferring


@contextmanager
def _replaced(owner: type, name: str, value):
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def _size(x) -> int:
    return prod(x.shape)


def _bytes(x) -> int:
    bits = re.search(r"\d+", x.dtype)
    return _size(x) * (int(bits[0]) // 8 if bits else 1)


# Multiply-adds of one operation: (operation, inputs, output) -> number.


def _matmul(operation, inputs, output):
    return _size(output) * inputs[0].shape[-1]


def _contract(operation, inputs, output):
    """Of (M, K) and (K, N), in any order of axes: the root of MK * KN * MN."""
    return (_size(inputs[0]) * _size(inputs[1]) * _size(output)) ** 0.5


def _einsum(operation, inputs, output):
    """Every combination of all the indices, whatever is summed."""
    lengths, free = {}, 1
    terms = operation.subscripts.replace(" ", "").partition("->")[0].split(",")
    for term, x in zip(terms, inputs, strict=True):
        before, dots, after = term.partition("...")
        lengths |= zip(before, x.shape, strict=False)
        lengths |= zip(reversed(after), reversed(x.shape), strict=False)
        free = max(free, prod(x.shape[len(before) : len(x.shape) - len(after)])) if dots else free
    return prod(lengths.values()) * free * (len(inputs) - 1)


def _conv(operation, inputs, output):
    *window, _ = inputs[1].shape  # (..., inputs of a group, outputs)
    return _size(output) * prod(window)


def _depthwise_conv(operation, inputs, output):
    *window, _, _ = inputs[1].shape  # (..., inputs, multiplier)
    return _size(output) * prod(window)


def _separable_conv(operation, inputs, output):
    *window, channels, multiplier = inputs[1].shape
    filters = inputs[2].shape[-1]
    between = _size(output) // filters * channels * multiplier
    return between * (prod(window) + filters)


def _conv_transpose(operation, inputs, output):
    *window, _ = inputs[1].shape  # (..., outputs, inputs)
    return _size(inputs[0]) * prod(window)


def _attention(operation, inputs, output):
    query, key, value = inputs[:3]
    pairs = query.shape[0] * query.shape[1] * key.shape[1] * query.shape[2]
    return pairs * (query.shape[3] + value.shape[3])


def _fourier(real: bool = False, axes: int = 1):
    """A complex transform of n points is n / 2 * log2(n) complex products: 2 n log2(n) real ones.

    That of n real points, or to them, takes half.
    """

    def formula(operation, inputs, output):
        longer = max(inputs[0], output, key=_size)
        return (1 if real else 2) * _size(longer) * log2(max(1, prod(longer.shape[-axes:])))

    return formula


_COUNTED = {
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
"""By the operation's class: the kind, as it is shown, and the formula."""

_UNCOUNTED = (
    "AssociativeScan", "Cholesky", "Cond", "Det", "Eig", "Eigh", "ForiLoop", "ISTFT", "Inv", "Kron",
    "LuFactor", "Lstsq", "Map", "Qr", "SVD", "STFT", "Scan", "Solve", "SolveTriangular", "Switch",
    "VectorizedMap", "WhileLoop",
)  # fmt: skip
"""Operations with products inside that nothing here counts."""

_SUMS = ("Add", "Mean", "Subtract", "Sum")

_VIEWS = ("Cast", "ConvertToTensor", "ExpandDims", "Reshape", "Squeeze", "StopGradient")
"""Operations whose output is their input, seen otherwise, unless the dtype changes."""
