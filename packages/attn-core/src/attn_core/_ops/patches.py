"""The sizes that patches need, and the bilinear resizing to them."""

from typing import Any

from keras import backend, ops

from attn_core._ops.entries import take
from attn_core._typing import Tensor

Size = tuple[Any, ...]
"""Height and width, numbers or scalar tensors."""


def round_up(size: Size, patch_size: tuple[int, ...]) -> Size:
    """Round (height, width), numbers or scalar tensors, up to multiples of the patch size.

    ONNX rounds the quotient of a negative number up, PyTorch down: all numbers are positive here.
    """
    pairs = zip(size, patch_size, strict=True)
    return tuple((old + patch - 1) // patch * patch for old, patch in pairs)


def resize(x: Tensor, size: Size, align_corners: bool = False) -> Tensor:
    """Resize `(B, H, W, C)` bilinearly to `size`, as PyTorch's `interpolate` does.

    Positions are computed from integers, so that an axis whose length does not change keeps its
    values exactly, and so does a constant image.

    Args:
        x: The image.
        size: New height and width, numbers or scalar tensors.
        align_corners: Whether the centres of the outermost pixels stay where they are, rather than
            the outer edges of the image ("half-pixel centres").
    """
    for axis, new in zip((1, 2), size, strict=True):
        old = ops.shape(x)[axis]
        if not (isinstance(old, int) and isinstance(new, int) and old == new):
            x = _resize_axis(x, axis, old, new, align_corners)
    return x


def _resize_axis(x: Tensor, axis: int, old: Any, new: Any, align_corners: bool) -> Tensor:
    index = ops.arange(0, new, dtype="int32")
    if align_corners:
        position, unit = index * (old - 1), ops.cast(ops.maximum(new - 1, 1), "int32")
    else:
        position, unit = (2 * index + 1) * old - new, 2 * new
        position = ops.minimum(ops.maximum(position, 0), unit * (old - 1))
    low = position // unit
    high = ops.minimum(low + 1, old - 1)
    real = "float64" if backend.standardize_dtype(x.dtype) == "float64" else "float32"
    weight = ops.cast(position % unit, real) / ops.cast(unit, real)
    weight = ops.reshape(ops.cast(weight, x.dtype), (-1, *[1] * (3 - axis)))
    lower = take(x, low, axis=axis)
    return lower + (take(x, high, axis=axis) - lower) * weight
