"""Operations that Keras checks longer than PyTorch computes them, for what many layers use.

On one CPU core `keras.ops.reshape` takes 25 microseconds and PyTorch's own 1, `matmul` of a few
numbers 21 and 4.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from attn_core._ops.lowering import calls_cost
from attn_core._typing import Tensor


def reshape(x: Tensor, shape: Sequence[Any]) -> Tensor:
    """Give a tensor another shape, as `keras.ops.reshape` does."""
    if calls_cost() and ops.is_tensor(x):
        return x.reshape(tuple(shape))
    return ops.reshape(x, shape)


def matmul(one: Tensor, other: Tensor) -> Tensor:
    """Multiply two tensors, as `keras.ops.matmul` does, which on CPUs adds float16 in float32."""
    direct = calls_cost() and ops.is_tensor(one) and ops.is_tensor(other)
    if direct and one.dtype == other.dtype and str(one.dtype) != "torch.float16":
        return one @ other
    return ops.matmul(one, other)
