"""Means over positions, weighted by exponentials of keys and position biases.

The weights are exp(k + w) = exp(k) exp(w): the two factors are computed apart, in float32, so that
sums over positions are matrix products or convolutions. Factors that cancel out of a mean keep the
exponentials in range.
"""

from keras import ops

from attn_core._ops.eager import matmul, reshape
from attn_core._typing import Tensor

SPAN = 60.0
"""A position bias counts as at most this much below the greatest bias of the same target.

Sums of such exponentials are far above the smallest float32, 1e-38. Gradients, in which their
reciprocals are multiplied by values, stay far below the greatest float32.
"""


def key_exponential(key: Tensor, axis: int | tuple[int, ...]) -> Tensor:
    """Return exp(key), divided by its maximum over the positions on `axis`."""
    return ops.exp(_shift(key, axis))


def bias_exponential(bias: Tensor) -> Tensor:
    """Return exp(bias), divided by its maximum over the last axis, and at least exp(-SPAN)."""
    return ops.exp(ops.maximum(_shift(bias, -1), -SPAN))


def _shift(x: Tensor, axis: int | tuple[int, ...]) -> Tensor:
    return x - ops.stop_gradient(ops.max(x, axis=axis, keepdims=True))


def quotient(weighted: Tensor, weights: Tensor) -> Tensor:
    """Return weighted / weights, with finite gradients also where the weights are tiny."""
    # JAX differentiates through 1 / weights**2, which would overflow: scale them to one first.
    scale = ops.stop_gradient(1.0 / weights)
    return (weighted * scale) / (weights * scale)


def distances(length: int | Tensor) -> Tensor:
    """Return the distances between `length` positions, `(length, length)`."""
    places = ops.arange(0, length)
    return ops.abs(ops.expand_dims(places, 1) - ops.expand_dims(places, 0))


def sum_beyond(x: Tensor, radius: int) -> Tensor:
    """Sum an image `(B, H, W, C)`, for each pixel, over the pixels outside the square around it.

    The square reaches `radius` pixels to each side. Nothing is subtracted, so that small sums keep
    their digits: the rows above and below the square are summed whole, the rows of the square only
    to its left and right. These are matrix products, which cost less than a convolution.
    """
    height, width, channels = ops.shape(x)[1], ops.shape(x)[2], x.shape[-1]
    beyond = ops.cast(distances(height) > radius, x.dtype)  # (H, H)
    aside = ops.cast(distances(width) > radius, x.dtype)  # (W, W)
    rows = matmul(beyond, ops.sum(x, axis=2))  # (B, H, C)
    near = matmul(1.0 - beyond, reshape(x, (-1, height, width * channels)))
    near = reshape(near, (-1, height, width, channels))
    return ops.expand_dims(rows, 2) + matmul(aside, near)
