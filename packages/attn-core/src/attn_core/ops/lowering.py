"""Where a backend lowers an operation poorly: the one place that decides to go round it.

Measured on two CPU cores: on JAX a depthwise 3x3 convolution of 8x56x56x64 takes 44 ms natively and
1.5 ms as nine shifted multiply-adds, a grouped one (4 groups) 51 ms natively and 7 ms as four dense
ones, attention over 8x196 tokens 40 ms as an einsum and 12 ms as transposed matrix products. On
TensorFlow and PyTorch, and on GPUs, the native convolutions win.
"""

from functools import cache

import keras


@cache
def jax_on_cpu() -> bool:
    """Whether the computation runs on JAX's CPU backend."""
    if keras.config.backend() != "jax":
        return False
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


@cache
def has_fused_attention() -> bool:
    """Whether `keras.ops.dot_product_attention` is one kernel here rather than an einsum."""
    return keras.config.backend() == "torch" or (
        keras.config.backend() == "jax" and not jax_on_cpu()
    )


@cache
def breaks_on_one_filter() -> bool:
    """Whether 3x3 convolutions with one filter have no gradient for a batch of one.

    PyTorch 2.13 on CPU: "slow_conv2d: grad_weight must be contiguous".
    """
    return keras.config.backend() == "torch"
