"""The maximum with a gradient that is a number on every backend."""

from keras import ops

from attn_core._ops.lowering import derives_maxima
from attn_core._typing import Tensor


def maximum(x: Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> Tensor:
    """Return the maximum over `axis`; equal maxima share the gradient."""
    if derives_maxima():
        from attn_core._ops import kernels_jax  # here: it loads parts of JAX that Keras does not

        return kernels_jax.maximum(x, axis, keepdims)
    return ops.max(x, axis=axis, keepdims=keepdims)
