"""`profile`: what a layer or model costs, in parameters, multiply-adds, memory and time."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from numbers import Integral, Real

import keras
import numpy as np

from attn_core.tools.counting import count
from attn_core.tools.stepping import forward_step, training_step

MODES = ("eager", "compiled")


@dataclass(frozen=True)
class Latency:
    """Times of one step.

    Attributes:
        median_ms: Median, in milliseconds.
        spread_ms: Distance of the quartiles.
        least_ms: The shortest.
        runs: Number of runs, after the warm-up.
    """

    median_ms: float
    spread_ms: float
    least_ms: float
    runs: int

    def __str__(self) -> str:
        return f"{self.median_ms:.2f} ± {self.spread_ms:.2f} ms"


@dataclass(frozen=True)
class Profile:
    """What a layer or model costs, as `attn_core.profile` returns it.

    Attributes:
        name: Its name.
        kind: Its class.
        backend: Keras' backend.
        input_shape: Shape of the input, the batch included.
        output_shape: Shape of the output, or of each of them.
        trainable_parameters: Numbers that training changes.
        other_parameters: Numbers that it does not: statistics of BatchNormalization, frozen
            weights.
        multiply_adds: Multiply-adds of one forward pass of the whole batch, by kind of operation.
        uncounted: Layers and operations that hold products but could not be counted.
        peak_bytes: Estimate of the most memory that the activations of a forward pass take.
        training_bytes: Estimate of what those that a backward pass may need take.
        latency: By mode ("eager", "compiled") and step ("forward", "training").
        failed: Why a mode or step could not be measured, by mode.
    """

    name: str
    kind: str
    backend: str
    input_shape: tuple
    output_shape: tuple
    trainable_parameters: int
    other_parameters: int
    multiply_adds: dict[str, int]
    uncounted: tuple[str, ...]
    peak_bytes: int
    training_bytes: int
    latency: dict[str, dict[str, Latency]]
    failed: dict[str, str]

    @property
    def total_multiply_adds(self) -> int:
        """Multiply-adds of all kinds together."""
        return sum(self.multiply_adds.values())

    def as_dict(self) -> dict:
        """Return all numbers as plain dictionaries and lists, for JSON."""
        return {**asdict(self), "total_multiply_adds": self.total_multiply_adds}

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {short(number)}" for kind, number in self.multiply_adds.items())
        shapes = f"{self.input_shape} -> {self.output_shape}"
        lines = {
            "parameters": f"{self.trainable_parameters:,} trainable, "
            f"{self.other_parameters:,} other",
            "multiply-adds": short(self.total_multiply_adds) + (f" ({kinds})" if kinds else ""),
            "activations": f"{self.peak_bytes / 2**20:.3g} MB at most (estimate), "
            f"{self.training_bytes / 2**20:.3g} MB kept for training",
        }
        if self.uncounted:
            lines["not counted"] = ", ".join(self.uncounted)
        for mode, steps in self.latency.items():
            lines[mode] = ", ".join(f"{step} {time}" for step, time in steps.items())
        lines |= {mode: f"failed: {reason}" for mode, reason in self.failed.items()}
        return "\n".join(
            [
                f"{self.kind} {self.name!r} on {self.backend}: {shapes}",
                *(f"  {what:<13}  {text}" for what, text in lines.items()),
            ]
        )


def short(number: int) -> str:
    """Return a count in three digits and a unit, 1.28 G say."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def profile(
    layer_or_model: keras.layers.Layer,
    input_shape: tuple[int, ...],
    *,
    modes: tuple[str, ...] = MODES,
    training: bool = True,
    seconds: float = 1.0,
) -> Profile:
    """Count parameters and multiply-adds, estimate memory, measure time.

    Counted are products of matrices (those of attention included), convolutions, Fourier transforms
    (2 n log2 n for n complex points, half for real ones), and elementwise products that only go
    into sums, as in local attention. Not counted are other elementwise operations, the products of
    gates among them, activations, softmax, norms, pooling, resizing, and what is computed from
    weights alone. The numbers are those of the mathematics: all backends give the same.

    The estimates of memory take every operation's output (but no reshaping) for an array of its
    own; a compiler that fuses operations needs less. Weights, gradients and the optimizer's state
    come on top.

    Times are measured after a warm-up that compiles, each step waited for, on random input. A
    training step is a forward pass with `training=True`, gradients and plain gradient descent;
    a layer's includes the gradient of its input. "compiled" is XLA on JAX and TensorFlow,
    `torch.compile` on PyTorch. The weights are left as they were.

    Args:
        layer_or_model: A layer or model of one input; built at `input_shape` where it is not.
        input_shape: Shape of the input, the batch included.
        modes: How to run it: "eager", "compiled"; `()` measures no time.
        training: Whether to measure the training step as well.
        seconds: How long to repeat each measurement; at least 5 runs.

    Returns:
        A `Profile`: print it, read its attributes, or take `as_dict()`.

    Raises:
        ValueError: If an argument is not as described, or the layer does not take such an input.

    Example:
        >>> from attn_core import SEAttention, profile
        >>> result = profile(SEAttention(), (8, 14, 14, 256), modes=())
        >>> result.trainable_parameters, result.total_multiply_adds
        (8192, 65536)
    """
    _check(layer_or_model, input_shape, modes, seconds)
    shape = tuple(int(length) for length in input_shape)
    counted = count(layer_or_model, shape)
    latency, failed = {}, {}
    for mode in modes:
        try:
            latency[mode] = measure(layer_or_model, shape, mode == "compiled", training, seconds)
        except Exception as error:
            if mode == "eager":
                raise
            # Compilers fail in many ways, a missing C++ compiler among them.
            failed[mode] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    trainable = sum(prod(weight.shape) for weight in layer_or_model.trainable_weights)
    return Profile(
        name=layer_or_model.name,
        kind=type(layer_or_model).__name__,
        backend=keras.config.backend(),
        input_shape=shape,
        output_shape=counted.output_shape,
        trainable_parameters=trainable,
        other_parameters=layer_or_model.count_params() - trainable,
        multiply_adds=counted.multiply_adds,
        uncounted=counted.uncounted,
        peak_bytes=counted.peak_bytes,
        training_bytes=counted.saved_bytes,
        latency=latency,
        failed=failed,
    )


def measure(
    layer: keras.layers.Layer, shape: tuple, compiled: bool, training: bool, seconds: float
) -> dict[str, Latency]:
    """Return the latency of the forward pass and, on request, of the training step."""
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    before = [keras.ops.convert_to_numpy(variable) for variable in layer.variables]
    try:
        latency = {"forward": _time(forward_step(layer, x, compiled), seconds)}
        if training:
            latency["training"] = _time(training_step(layer, x, compiled), seconds)
    finally:
        for variable, value in zip(layer.variables, before, strict=True):
            variable.assign(value)
    return latency


def _time(step: Callable[[], object], seconds: float) -> Latency:
    for _ in range(2):  # compiles, and lets caches and memory settle
        step()
    times = []
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        tick = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - tick))
    low, median, high = np.percentile(times, (25, 50, 75)).tolist()
    return Latency(median, high - low, min(times), len(times))


def _check(layer, input_shape, modes, seconds):
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"profile: expected a Keras layer or model. Received: {layer!r}")
    if not (
        isinstance(input_shape, (list, tuple))
        and len(input_shape) > 1
        and all(isinstance(n, Integral) and n > 0 for n in input_shape)
    ):
        raise ValueError(
            "profile: `input_shape` must be a tuple of positive integers, the batch first. "
            f"Received: input_shape={input_shape!r}"
        )
    if not isinstance(modes, (list, tuple)) or any(mode not in MODES for mode in modes):
        raise ValueError(
            f"profile: `modes` must be a tuple of {' and '.join(map(repr, MODES))}. "
            f"Received: modes={modes!r}"
        )
    if not isinstance(seconds, Real) or not 0 <= seconds < float("inf"):
        raise ValueError(f"profile: `seconds` must be >= 0. Received: seconds={seconds!r}")
