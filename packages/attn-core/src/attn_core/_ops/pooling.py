"""Poolings that halve height and width, both even."""

from keras import ops

from attn_core._typing import Tensor


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
    return ops.average_pool(x, 2, 2, "valid", "channels_last")
