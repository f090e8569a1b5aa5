"""Reductions and exponentials in float32 where the inputs are of half precision.

Each takes a tensor of any float type and, except `upcast`, returns its result in that type.
"""

from typing import Any

from keras import backend, ops

from attn_core._ops.lowering import jax_on_cpu
from attn_core._typing import Tensor

Axes = int | tuple[int, ...]


def cast(x: Tensor, dtype: Any) -> Tensor:
    """Cast to a dtype; what has it stays as it is, for Keras' call alone takes 10 microseconds."""
    same = x.dtype == dtype or str(x.dtype) == f"torch.{dtype}"
    return x if same else ops.cast(x, dtype)


def upcast(x: Tensor) -> Tensor:
    """Cast half-precision tensors to float32; float32 and float64 stay as they are."""
    half = backend.standardize_dtype(x.dtype) in ("float16", "bfloat16")
    return ops.cast(x, "float32") if half else x


def mean(x: Tensor, axis: Axes, keepdims: bool = False) -> Tensor:
    """Mean over `axis`."""
    return cast(ops.mean(upcast(x), axis=axis, keepdims=keepdims), x.dtype)


def softmax(x: Tensor, axis: Axes = -1) -> Tensor:
    """Softmax over `axis`, an integer or a tuple; over one entry it is 1, and Keras would warn."""
    if isinstance(axis, int) and x.shape[axis] == 1:
        return x - x + 1  # not a constant: backends warn of weights without a gradient
    if jax_on_cpu():
        from attn_core._ops import kernels_jax  # here: it loads parts of JAX that Keras does not

        return cast(kernels_jax.softmax(ops.convert_to_tensor(upcast(x)), axis), x.dtype)
    return cast(ops.softmax(upcast(x), axis=axis), x.dtype)
