"""`profile`: what a layer or model costs, in parameters, multiply-adds, memory and time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, log10, prod
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from attn_core._tools.counting import count
from attn_core._tools.stepping import forward_step, training_step

Mode: TypeAlias = Literal["eager", "compiled"]
MODES: tuple[Mode, ...] = ("eager", "compiled")


SHORTEST = 2e-3
"""Least seconds of one measurement: a shorter step is repeated, and the mean taken."""


@dataclass(frozen=True)
class Latency:
    """Times of one step, in milliseconds.

    Attributes:
        median_ms: The median.
        spread_ms: The difference between the third and the first quartile.
        least_ms: The shortest time.
        runs: Number of runs, after the warm-up.
    """

    median_ms: float
    spread_ms: float
    least_ms: float
    runs: int

    def __str__(self) -> str:
        return f"{timed(self.median_ms, self.spread_ms)} ms"


@dataclass(frozen=True)
class Profile:
    """What a layer or model costs, as `attn_core.profile` returns it.

    Attributes:
        name: The name of the layer or model.
        kind: The name of its class.
        backend: Keras' backend.
        input_shape: Shape of the input, the batch included.
        output_shape: Shape of the output, or of each of them.
        trainable_parameters: Number of parameters that training changes.
        other_parameters: Number of parameters that it does not change: statistics of
            BatchNormalization, frozen weights.
        multiply_adds: Multiply-adds of one forward pass of the whole batch, by kind of operation.
        uncounted: Layers and operations that contain products that could not be counted.
        peak_bytes: Estimate of the largest memory that the activations of a forward pass take at
            one time.
        training_bytes: Estimate of the memory of the activations that a backward pass may need.
        latency: Times by mode ("eager", "compiled") and step ("forward", "training").
        failed: Why a mode could not be measured, by mode.
    """

    name: str
    kind: str
    backend: str
    input_shape: tuple[int, ...]
    output_shape: tuple[Any, ...]
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

    def as_dict(self) -> dict[str, Any]:
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


def timed(median: float, spread: float) -> str:
    """Return a time with its spread; a short time has three digits too."""
    digits = max(2, 2 - floor(log10(max(median, 1e-6))))
    return f"{median:.{digits}f} ± {spread:.{digits}f}"


def short(number: int) -> str:
    """Return a number with three digits and a unit, for example 1.28 G."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def profile(
    layer_or_model: keras.layers.Layer,
    input_shape: tuple[int, ...],
    *,
    modes: Sequence[Mode] = MODES,
    training: bool = True,
    seconds: float = 1.0,
) -> Profile:
    r"""Count parameters and multiply-adds, estimate memory, measure time.

    These operations are counted as multiply-adds: matrix products (also those of attention),
    convolutions, Fourier transforms ($2 n \log_2 n$ for n complex points, half of it for real
    points), and elementwise products whose results are only added up, as in local attention. Other
    elementwise operations (also the products with gates), activations, softmax, norms, pooling,
    resizing, and what is computed only from weights are not counted. The numbers are the same on
    all backends.

    The estimates of memory assume that the output of every operation, except a reshape, is a
    separate array; a compiler that fuses operations needs less. Weights, gradients and the
    optimizer's state need additional memory.

    Times are measured on random input, after a warm-up in which the step is compiled. Each
    measurement waits until the step has finished. A training step is a forward pass with
    `training=True`, the gradients and one step of plain gradient descent; for a layer, it includes
    the gradient of its input. "compiled" is XLA on JAX and TensorFlow, `torch.compile` on PyTorch.
    The weights do not change.

    Args:
        layer_or_model: A layer or model with one input; if it is not built yet, it is built for
            `input_shape`.
        input_shape: Shape of the input, the batch included.
        modes: How to run it: "eager", "compiled". With `()` the costs are counted, and no time is
            measured.
        training: Whether to measure the training step too.
        seconds: How long to repeat each measurement; there are at least 5 runs.

    Returns:
        A `Profile`, which can be printed. Its attributes hold the numbers, and `as_dict()` returns
        them as a dictionary.

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
    latency: dict[str, dict[str, Latency]] = {}
    failed: dict[str, str] = {}
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
    layer: keras.layers.Layer,
    shape: tuple[int, ...],
    compiled: bool,
    training: bool,
    seconds: float,
) -> dict[str, Latency]:
    """Return the latency of the forward pass and, on request, of the training step."""
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    before = [keras.ops.convert_to_numpy(variable) for variable in layer.variables]
    try:
        latency = {"forward": time_step(forward_step(layer, x, compiled), seconds)}
        if training:
            latency["training"] = time_step(training_step(layer, x, compiled), seconds)
    finally:
        for variable, value in zip(layer.variables, before, strict=True):
            variable.assign(value)
    return latency


def time_step(step: Callable[[], object], seconds: float) -> Latency:
    """Return the latency of a step that is repeated for some seconds, at least 5 times."""
    for _ in range(2):  # compiles, and lets caches and memory settle
        step()
    # A short step is repeated within each measurement: alone, it would be lost in the clock's and
    # the system's noise.
    repeats = max(1, ceil(SHORTEST / max(_elapsed(step, 1), 1e-9)))
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        times.append(1e3 * _elapsed(step, repeats))
    low, median, high = np.percentile(times, (25, 50, 75)).tolist()
    return Latency(median, high - low, min(times), len(times) * repeats)


def _elapsed(step: Callable[[], object], repeats: int) -> float:
    """Return the seconds that a step takes, the mean of a number of steps."""
    tick = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - tick) / repeats


def _check(layer: object, input_shape: object, modes: object, seconds: object) -> None:
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"profile: expected a Keras layer or model. Received: {layer!r}")
    inputs = getattr(layer, "inputs", None) or []
    if len(inputs) > 1:
        raise ValueError(
            f"profile: a model of one input is measured. Received: {layer.name!r}, which takes "
            f"{len(inputs)}: {', '.join(one.name for one in inputs)}. Profile its parts, or a "
            "model of one input around it, which makes the others of that input."
        )
    if modes and any(one.dtype == "string" for one in inputs):
        raise ValueError(
            f"profile: the times of a model of text are not measured. Received: {layer.name!r}. "
            "Profile the model behind its vocabulary, or count the costs alone with `modes=()`."
        )
    if not (
        isinstance(input_shape, (list, tuple))
        and len(input_shape) > 1
        and all(isinstance(n, Integral) and n > 0 for n in input_shape)
    ):
        raise ValueError(
            "profile: `input_shape` must be one tuple of positive integers, the batch first. "
            f"Received: input_shape={input_shape!r}"
        )
    if not isinstance(modes, (list, tuple)) or any(mode not in MODES for mode in modes):
        raise ValueError(
            f"profile: `modes` must be a tuple of {' and '.join(map(repr, MODES))}. "
            f"Received: modes={modes!r}"
        )
    if not isinstance(seconds, Real) or not 0 <= seconds < float("inf"):
        raise ValueError(f"profile: `seconds` must be >= 0. Received: seconds={seconds!r}")
