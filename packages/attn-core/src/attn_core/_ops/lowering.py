"""Which operations a backend computes slowly or wrongly, so that another way is taken there.

All such decisions are made in this module. Measured on two CPU cores: on JAX a depthwise 3x3
convolution of 8x56x56x64 takes 44 ms natively and 1.5 ms as nine shifted multiply-adds, a grouped
one (4 groups) 51 ms natively and 7 ms as four dense ones, a 7x7 one of 8x56x56x2 to one channel 3.4
ms natively and 0.7 ms as matrix products and shifted sums, a 7x7x7 one of 2x16x32x32x2 to one
channel 237 ms natively and 11 ms as one of images, attention over 8x196 tokens 40 ms as an
einsum and 12 ms as transposed matrix products. On TensorFlow a grouped 9x9 (16 groups) of
8x28x28x64, with its gradient, takes 7.5 s as Keras runs it on CPUs and 17 ms as 16 dense ones.
Elsewhere the native convolutions win.

Dense convolutions to few filters are slow on JAX, too, so that small groups are merged. On one core
a 9x9 convolution of 8x14x14x256 to 64 filters takes 21 ms as 16 groups and 6 ms as 8 with zeros in
them, with its gradient 55 and 34 ms; a 3x3 one of 4x28x28x128 to as many, 14 ms as 32 groups and
3.4 ms as 4, with its gradient 37 and 12 ms.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import keras

_as_written = False


@contextmanager
def as_written() -> Iterator[None]:
    """Compute everything in this context as the layers write it, on every backend.

    For counting operations: the count is then that of the mathematics, and not of what a backend
    needs. Another thread that computes at the same time gets the same numbers, perhaps more slowly.
    """
    global _as_written
    before, _as_written = _as_written, True
    try:
        yield
    finally:
        _as_written = before


def _decided_once(decide: Callable[[], bool]) -> Callable[[], bool]:
    """Make a decision once per process; within `as_written` its answer is no."""
    made: list[bool] = []  # functools.cache would let torch.compile trace into what it cannot trace

    @wraps(decide)
    def decision() -> bool:
        if _as_written:
            return False
        if not made:
            made.append(decide())
        return made[0]

    return decision


@_decided_once
def jax_on_cpu() -> bool:
    """Whether the computation runs on JAX's CPU backend."""
    return keras.config.backend() == "jax" and _only_cpus()


@_decided_once
def writes_gelu() -> bool:
    """Whether gelu is written with erf, because the backend computes it with erfc."""
    return keras.config.backend() in ("jax", "tensorflow") and _only_cpus()


@_decided_once
def splits_groups() -> bool:
    """Whether a grouped convolution is faster as several dense ones, one for each group."""
    return jax_on_cpu() or (keras.config.backend() == "tensorflow" and _only_cpus())


@_decided_once
def repeats_by_products() -> bool:
    """Whether a few weights are repeated by a product with a matrix of zeros and ones.

    XLA's CPU compiler, which TensorFlow may use, would otherwise find the weight again for every
    number that is multiplied by it: it fuses the repetition into the product.
    """
    return keras.config.backend() in ("jax", "tensorflow") and _only_cpus()


@_decided_once
def shares_keys() -> bool:
    """Whether queries near to each other share the keys of all their windows, most of them masked.

    Measured on one CPU core for 8x14x14x256 and 2x56x56x64, with 7x7 windows: the forward pass is
    ten times as fast as with a copy of its own keys for each query, and needs an eighth of the
    memory; with gradients it is 2.4 (JAX) to 10 times (PyTorch) as fast, in a fifth of the memory.
    """
    return True


@_decided_once
def derives_maxima() -> bool:
    """Whether the gradient of a maximum is ours: that of JAX can be NaN once XLA has fused it."""
    return keras.config.backend() == "jax"


@_decided_once
def exact_products() -> bool:
    """Whether matrix products of float32 numbers are computed in float32.

    On GPUs and TPUs, JAX and TensorFlow round the inputs to fewer digits by default.
    """
    return on_torch() or _only_cpus()


def _only_cpus() -> bool:
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


@_decided_once
def on_torch() -> bool:
    """Whether the computation runs on PyTorch.

    On its CPU backend the gradient of a convolution to one channel raises "slow_conv2d: grad_weight
    must be contiguous" (2.13; float16 and float64, and float32 for one sample and 3x3) when the
    kernel is stored height, width, inputs, outputs.
    """
    return keras.config.backend() == "torch"


@_decided_once
def convolves_products() -> bool:
    """Whether PyTorch multiplies large matrices on CPUs faster as a convolution of one pixel.

    oneDNN, which computes the convolutions, uses AVX-512 on every processor that has it; MKL, which
    multiplies the matrices, on Intel's alone. On two cores of an AMD EPYC 1568x256 times 256x1024
    takes 3.8 ms as a product and 2.0 ms as a convolution, with its gradient 12.5 and 6.6 ms.
    """
    return on_torch() and {"AuthenticAMD", "avx512f"} <= _processor()


def _processor() -> set[str]:
    """Return the words that Linux has for the processor: its vendor and what it can do."""
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()


def calls_cost() -> bool:
    """Whether operations run one by one, so that what surrounds a call is paid at every call."""
    return on_torch()


def uses_fused_attention() -> bool:
    """Whether attention is computed by one kernel.

    `keras.config.disable_flash_attention()` switches it off: PyTorch's kernel has no second
    derivative.
    """
    return keras.config.is_flash_attention_enabled() is not False and _has_fused_attention()


@_decided_once
def _has_fused_attention() -> bool:
    """Whether `keras.ops.dot_product_attention` is one kernel here, and not an einsum."""
    return on_torch() or (keras.config.backend() == "jax" and not jax_on_cpu())
