"""Parts of an axis, by place and by index, in operations that every exporter takes."""

import keras
from keras import ops

from attn_core._ops.lowering import on_torch
from attn_core._typing import Tensor

if keras.config.backend() == "torch":
    from attn_core._ops import kernels_torch


def split_at(x: Tensor, *places: int) -> list[Tensor]:
    """Split the last axis before given places: on PyTorch `ops.split` makes a tensor of them."""
    if not on_torch():
        return ops.split(x, list(places), axis=-1)
    ends = zip((0, *places), (*places, None), strict=True)
    return [x[..., first:end] for first, end in ends]


def take(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Return the entries of an axis at indices of any shape, none of them negative."""
    if not on_torch():
        return ops.take(x, indices, axis=axis)
    x, indices = ops.convert_to_tensor(x), ops.convert_to_tensor(indices, "int64")
    return kernels_torch.take(x, indices, axis)
