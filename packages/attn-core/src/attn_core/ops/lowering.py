"""Where a backend lowers an operation poorly: the one place that decides to go round it.

Measured on two CPU cores: on JAX a depthwise 3x3 convolution of 8x56x56x64 takes 44 ms natively and
1.5 ms as nine shifted multiply-adds, a grouped one (4 groups) 51 ms natively and 7 ms as four dense
ones, a 7x7 one of 8x56x56x2 to one channel 3.4 ms natively and 0.7 ms as matrix products and
shifted sums, attention over 8x196 tokens 40 ms as an einsum and 12 ms as transposed matrix
products. On TensorFlow a grouped 9x9 (16 groups) of 8x28x28x64, with its gradient, takes 7.5 s as
Keras runs it on CPUs and 17 ms as 16 dense ones. Elsewhere the native convolutions win.
"""

from contextlib import contextmanager
from functools import wraps

import keras

_as_written = False


@contextmanager
def as_written():
    """Go round nothing inside, so that what runs is the mathematics: its operations are counted.

    Another thread that computes at the same time gets the same numbers, perhaps later.
    """
    global _as_written
    before, _as_written = _as_written, True
    try:
        yield
    finally:
        _as_written = before


def _detour(decide):
    """Make a decision about this process once; inside `as_written` it is no."""
    made = []  # not functools.cache, which torch.compile looks through, into what it cannot trace

    @wraps(decide)
    def decision() -> bool:
        if _as_written:
            return False
        if not made:
            made.append(decide())
        return made[0]

    return decision


@_detour
def jax_on_cpu() -> bool:
    """Whether the computation runs on JAX's CPU backend."""
    return keras.config.backend() == "jax" and _only_cpus()


@_detour
def splits_groups() -> bool:
    """Whether a grouped convolution is better run as dense ones, a group each."""
    return jax_on_cpu() or (keras.config.backend() == "tensorflow" and _only_cpus())


@_detour
def exact_products() -> bool:
    """Whether matrix products of float32 numbers are computed in float32.

    On GPUs and TPUs, JAX and TensorFlow round the inputs to fewer digits by default.
    """
    return on_torch() or _only_cpus()


def _only_cpus() -> bool:
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


@_detour
def on_torch() -> bool:
    """Whether the computation runs on PyTorch.

    On its CPU backend the gradient of a convolution to one channel raises "slow_conv2d: grad_weight
    must be contiguous" (2.13; float16 and float64, and float32 for one sample and 3x3) when the
    kernel is stored height, width, inputs, outputs.
    """
    return keras.config.backend() == "torch"


@_detour
def has_fused_attention() -> bool:
    """Whether `keras.ops.dot_product_attention` is one kernel here rather than an einsum."""
    return on_torch() or (keras.config.backend() == "jax" and not jax_on_cpu())
