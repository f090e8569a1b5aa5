"""Poolings of images, `(B, H, W, C)`."""

import keras
from keras import ops

from attn_core._ops.convolution import pad_image
from attn_core._ops.lowering import on_torch
from attn_core._typing import Tensor

if keras.config.backend() == "torch":
    from attn_core._ops import kernels_torch


def average_pool(x: Tensor, size: int, strides: int, padding: int = 0) -> Tensor:
    """Return the means of square windows; what does not fill a window is dropped.

    The zeros of the padding, at most half a window on each side, count.
    """
    if on_torch():
        return kernels_torch.average_pool(ops.convert_to_tensor(x), size, strides, padding)
    x = pad_image(x, padding)
    return ops.average_pool(x, size, strides, "valid", "channels_last")


def halve(x: Tensor, pooling: str = "avg") -> Tensor:
    """Halve the sides of an image, `(B, H, W, C)`.

    Args:
        x: The image; H and W are even.
        pooling: "avg": of 2x2 pixels each; "max": of 3x3 around every second pixel, from the first
            one on, as PyTorch does with a padding of 1.
    """
    if pooling == "max":
        x = ops.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)), constant_values=float("-inf"))
        return ops.max_pool(x, 3, 2, "valid", "channels_last")
    return average_pool(x, 2, 2)
