"""Bilinear interpolation at positions that are computed, with gradients of image and positions.

Positions count pixels from the centre of the first one. Outside are zeros, so that a position up to
one pixel beyond the border still has a part of the pixel at the border.
"""

from keras import ops

from attn_core._ops.entries import take
from attn_core._typing import Tensor


def sample(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Sample an image `(B, H, W, C)` at positions `(B, P)`: `(B, P, C)`."""
    batch, height, width, channels = *ops.shape(image)[:3], image.shape[-1]
    pixels = ops.reshape(image, (-1, channels))
    first = ops.expand_dims(ops.arange(0, batch, dtype="int32") * (height * width), 1)
    output = 0.0
    for row, row_weight in _neighbours(rows, height):
        for column, column_weight in _neighbours(columns, width):
            weight = ops.expand_dims(ops.cast(row_weight * column_weight, image.dtype), 2)
            output = output + take(pixels, first + row * width + column, axis=0) * weight
    return output


def _neighbours(positions: Tensor, length: int | Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return index and weight of the two pixels of an axis that a position lies between."""
    before = ops.floor(positions)
    part = positions - before
    first, pairs = ops.cast(before, "int32"), []
    for index, weight in ((first, 1 - part), (first + 1, part)):
        nearest = ops.clip(index, 0, length - 1)
        pairs.append((nearest, weight * ops.cast(ops.equal(index, nearest), weight.dtype)))
    return pairs


def sample_grids(table: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Sample tables at grids of positions: each of I rows with each of J columns.

    This is done with matrix products, first over the rows, then over the columns: gathers would
    read four entries for each number, and their gradients would add up in a few places.

    Args:
        table: For each of G groups M maps of H x W numbers, `(G, H, M, W)`.
        rows: `(G, B, P, I)`, for each of P grids.
        columns: `(G, B, P, J)`.

    Returns:
        `(G, B, P, I, M, J)`.
    """
    (groups, height, maps, width), (_, _, grids, lines) = table.shape, rows.shape
    # The groups come first because TensorFlow crashes where it must broadcast a product.
    across = ops.reshape(_weights(rows, height, table.dtype), (groups, -1, height))
    mixed = ops.matmul(across, ops.reshape(table, (groups, height, maps * width)))
    mixed = ops.reshape(mixed, (groups, -1, grids, lines * maps, width))
    along = ops.transpose(_weights(columns, width, table.dtype), (0, 1, 2, 4, 3))
    output = ops.matmul(mixed, along)  # (G, B, P, I * M, J)
    return ops.reshape(output, (groups, -1, grids, lines, maps, columns.shape[3]))


def _weights(positions: Tensor, length: int, dtype: str) -> Tensor:
    """Return the weight of each of `length` pixels at each position, `(..., length)`."""
    pixels = ops.arange(0, length, dtype=positions.dtype)
    distance = ops.abs(ops.expand_dims(positions, -1) - pixels)
    return ops.cast(ops.maximum(1 - distance, 0), dtype)
