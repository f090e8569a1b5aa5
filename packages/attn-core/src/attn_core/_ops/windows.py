"""Windows and neighbourhoods of an image `(B, H, W, C)`: cut, gathered, and joined to an image.

`to_windows` is for queries that share their keys, `neighbours` for keys that each query has alone,
`nearest` for blocks of queries that share keys of which each query sees some.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from keras import ops

from attn_core._ops.convolution import pad_image
from attn_core._ops.eager import reshape
from attn_core._ops.entries import take
from attn_core._ops.pooling import average_pool
from attn_core._ops.precision import upcast
from attn_core._typing import Tensor

Pair: TypeAlias = tuple[int, int]
Indices: TypeAlias = np.ndarray | Tensor
Counts: TypeAlias = tuple[int | Tensor, int | Tensor]


def neighbours(x: Tensor, kernel_size: int, strides: int = 1, mirror: bool = False) -> list[Tensor]:
    """Return, for each of the k * k offsets, the pixels at that offset from the positions.

    Positions are every strides-th pixel of rows and columns. Offsets run row by row from the top
    left. Outside the image are zeros, or with `mirror` the pixels of the image reflected at those
    of the border. Each entry has the shape `(B, ceil(H / strides), ceil(W / strides), C)`.
    """
    height, width = ops.shape(x)[1], ops.shape(x)[2]
    if mirror and kernel_size > 1:  # PyTorch mirrors no border of no pixels
        around = (kernel_size // 2, kernel_size // 2)
        x = ops.pad(x, ((0, 0), around, around, (0, 0)), mode="reflect")
    else:
        x = pad_image(x, kernel_size // 2)
    return [
        x[:, row : row + height : strides, column : column + width : strides]
        for row in range(kernel_size)
        for column in range(kernel_size)
    ]


def fold(
    parts: list[Tensor], kernel_size: int, strides: int, height: int | Tensor, width: int | Tensor
) -> Tensor:
    """Add overlapping windows up to an image `(B, H, W, C)`: the transpose of `neighbours`.

    Args:
        parts: For each of the k * k offsets an image `(B, ceil(H / strides), ceil(W / strides),
            C)`.
        kernel_size: Odd size k of the windows.
        strides: Distance between windows.
        height: Height of the image.
        width: Width of the image.
    """
    extent = -(-(kernel_size - 1) // strides)  # so many windows after it, a window overlaps

    def place(row: int, column: int) -> Tensor:
        down, right = row // strides, column // strides
        padding = ((0, 0), (down, extent - down), (right, extent - right), (0, 0))
        return ops.pad(parts[row * kernel_size + column], padding)

    def total(row: int, column: int) -> Tensor:
        """Sum the windows at every strides-th pixel, from (row, column) on."""
        rows, columns = range(row, kernel_size, strides), range(column, kernel_size, strides)
        placed = [place(row, column) for row in rows for column in columns]
        return sum(placed[1:], placed[0]) if placed else ops.zeros_like(place(0, 0))

    image = _interleave(
        [
            _interleave([total(row, column) for column in range(strides)], axis=2)
            for row in range(strides)
        ],
        axis=1,
    )
    start = kernel_size // 2
    return image[:, start : start + height, start : start + width]


class SharedKeys(NamedTuple):
    """Blocks of positions on a line, and what each position of a block sees of the block's keys.

    Attributes:
        queries: The positions of each block, `(blocks, side)`; the last one may be repeated.
        keys: The positions that those of a block share as keys, `(blocks, keys)`.
        steps: How many steps of the dilation a key lies after a query, `(blocks, side, keys)`.
        inside: Whether the key is one of the nearest of the query, as `steps`; `None` = all.
        order: Where in the blocks each position of the line is, `(length,)`; `None` = as it is.
    """

    queries: Indices
    keys: Indices
    steps: Indices
    inside: Indices | None
    order: Indices | None


def nearest(length: int | Tensor, kernel_size: int, dilation: int, side: int = 1) -> SharedKeys:
    """Return the `kernel_size` nearest of each position of a line, in blocks of `side` positions.

    They are `dilation` apart, and as near to the centre on the position as the ends of the line
    allow, which has at least kernel_size * dilation positions. The positions of a block are
    `dilation` apart, too, and share side + kernel_size - 1 keys.
    """
    on: Any = np if isinstance(length, int) else ops
    most = (length + dilation - 1) // dilation  # of the positions `dilation` apart
    blocks, shared = (most + side - 1) // side, side + kernel_size - 1
    if on is np:
        shared = min(shared, most)
    first = on.reshape(on.arange(dilation, dtype="int32"), (-1, 1, 1))
    count = (length - first + dilation - 1) // dilation
    step = on.reshape(on.arange(0, blocks * side), (1, -1, side))
    step = on.minimum(step, count - 1)  # (dilation, blocks, side)
    start = on.minimum(on.maximum(step - kernel_size // 2, 0), count - kernel_size)
    begin = on.maximum(on.minimum(start[:, :, :1], count - shared), 0)
    key = begin + on.arange(shared, dtype="int32")  # (dilation, blocks, shared)
    each = on.expand_dims(key, 2)  # (dilation, blocks, 1, shared)
    since = each - on.expand_dims(start, 3)
    place = on.arange(0, length)
    return SharedKeys(
        on.reshape(step * dilation + first, (-1, side)),
        on.reshape(on.minimum(key, count - 1) * dilation + first, (-1, shared)),
        on.reshape(each - on.expand_dims(step, 3), (-1, side, shared)),
        None
        if side == 1
        else on.reshape(on.logical_and(since >= 0, since < kernel_size), (-1, side, shared)),
        None if dilation == 1 else place % dilation * (blocks * side) + place // dilation,
    )


def gather_windows(x: Tensor, rows: Indices, columns: Indices) -> Tensor:
    """Return the pixels of an image at rows `(H, k)` and columns `(W, k)`: `(B, k, k, H, W, C)`."""
    x = take(x, ops.transpose(columns), axis=2)  # (B, H, k, W, C)
    x = take(x, ops.transpose(rows), axis=1)  # (B, k, H, k, W, C)
    return ops.transpose(x, (0, 1, 3, 2, 4, 5))


def join_blocks(x: Tensor, rows: SharedKeys, columns: SharedKeys, channels: int) -> Tensor:
    """Join the queries of blocks, which are in the order of `gather_windows`, to an image.

    Its shape is `(B, H, W, channels)`, or with blocks longer than H or W the image and more.
    """
    (down, high), (across, broad) = ops.shape(rows.queries), ops.shape(columns.queries)
    x = reshape(x, (-1, high, broad, down, across, channels))
    x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
    x = reshape(x, (-1, down * high, across * broad, channels))
    for axis, line in ((1, rows), (2, columns)):
        x = x if line.order is None else take(x, line.order, axis=axis)
    return x


def _interleave(parts: list[Tensor], axis: int) -> Tensor:
    """Alternate the rows (axis 1) or columns (axis 2) of equal images."""
    if len(parts) == 1:
        return parts[0]
    shape = [*ops.shape(parts[0])]
    shape[axis] = shape[axis] * len(parts)
    return reshape(ops.stack(parts, axis=axis + 1), shape)


def mean_pool(x: Tensor, size: int) -> Tensor:
    """Average blocks of size x size pixels; blocks at the border, over the pixels they have."""

    def pool(x: Tensor) -> Tensor:
        x = ops.pad(x, ((0, 0), (0, size - 1), (0, size - 1), (0, 0)))
        return average_pool(x, size, size)

    exact = upcast(x)
    inside = pool(ops.ones_like(exact[:1, :, :, :1]))
    return ops.cast(pool(exact) / inside, x.dtype)  # (B, ceil(H / size), ceil(W / size), C)


def to_windows(
    x: Tensor, size: int | Pair, halo: int | tuple[Pair, Pair] = 0, interval: int = 1
) -> Tensor:
    """Cut an image `(B, H, W, C)` into windows, `(B, pixels, windows, C)`.

    The pixels of a window, and the windows, are in the order of rows, then columns.

    Args:
        x: The image; H and W are multiples of size * interval.
        size: Height and width of the windows in pixels, without halo.
        halo: How far a window extends into its neighbours. Either one number for all sides, or
            ((above, below), (left, right)). Outside the image are zeros.
        interval: Distance between the pixels of a window. The pixels of size * interval rows and
            columns then form interval * interval windows, which follow each other.
    """
    (rows, columns), pair = _counts(x, size, interval), _pair(size)
    sides = ((halo, halo), (halo, halo)) if isinstance(halo, int) else halo
    # So many windows after it, a window with its halo ends.
    further = [-(-sum(side) // one) for side, one in zip(sides, pair, strict=True)]
    if any(further):
        fill = [n * one - sum(side) for n, one, side in zip(further, pair, sides, strict=True)]
        around = [
            (before * interval, (after + more) * interval)
            for (before, after), more in zip(sides, fill, strict=True)
        ]
        x = ops.pad(x, ((0, 0), *around, (0, 0)))
    x = _unfold(x, pair, (rows + further[0], columns + further[1]), interval)
    # A window with a halo consists of a window, the windows after it and a part of the last.
    parts = [
        [min(one, one + sum(side) - start) for start in range(0, one + sum(side), one)]
        for side, one in zip(sides, pair, strict=True)
    ]
    if further[0]:
        x = ops.concatenate([x[:, :n, :, i : i + rows] for i, n in enumerate(parts[0])], axis=1)
    if further[1]:
        x = ops.concatenate(
            [x[:, :, :n, :, i : i + columns] for i, n in enumerate(parts[1])], axis=2
        )
    pixels, windows = sum(parts[0]) * sum(parts[1]), rows * columns * interval**2
    return reshape(x, (-1, pixels, windows, x.shape[-1] // interval**2))


def from_windows(
    x: Tensor, size: int | Pair, height: int | Tensor, width: int | Tensor, interval: int = 1
) -> Tensor:
    """Join windows `(B, pixels, windows, C)` to `(B, H, W, C)`: the inverse of `to_windows`."""
    (h, w), channels = _pair(size), x.shape[-1]
    rows, columns = height // (h * interval), width // (w * interval)
    if interval == 1:
        x = reshape(x, (-1, h, w, rows, columns, channels))
        x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
    else:
        x = reshape(x, (-1, w, rows, columns, interval, interval * channels))
        x = ops.transpose(x, (0, 2, 4, 3, 1, 5))  # (B * h, rows, interval, columns, w, ..)
        x = reshape(x, (-1, h, rows, interval * width * channels))
        x = ops.transpose(x, (0, 2, 1, 3))
    return reshape(x, (-1, height, width, channels))


def _unfold(x: Tensor, size: Pair, counts: Counts, interval: int) -> Tensor:
    """Return the windows as `(B, h, w, rows, columns, interval * interval * C)`."""
    (h, w), (rows, columns), channels = size, counts, x.shape[-1]
    if interval == 1:
        x = reshape(x, (-1, rows, h, columns, w, channels))
        return ops.transpose(x, (0, 2, 4, 1, 3, 5))
    width = columns * w * interval
    x = reshape(x, (-1, rows, h, interval * width * channels))
    x = ops.transpose(x, (0, 2, 1, 3))
    x = reshape(x, (-1, rows, interval, columns, w, interval * channels))
    x = ops.transpose(x, (0, 4, 1, 3, 2, 5))  # (B * h, w, rows, columns, interval, ..)
    return reshape(x, (-1, h, w, rows, columns, interval**2 * channels))


def _counts(x: Tensor, size: int | Pair, interval: int) -> Counts:
    """Return the numbers of rows and columns of windows."""
    (height, width), (h, w) = ops.shape(x)[1:3], _pair(size)
    return height // (h * interval), width // (w * interval)


def _pair(size: int | Pair) -> Pair:
    return (size, size) if isinstance(size, int) else size


def split_window_heads(x: Tensor, num_heads: int) -> Tensor:
    """Split `(B, pixels, windows, heads * width)` into `(B, pixels, windows * heads, width)`.

    `attend` then lets the pixels of a window attend to each other, as it lets tokens.
    """
    windows = ops.shape(x)[2]
    return reshape(x, (-1, x.shape[1], windows * num_heads, x.shape[-1] // num_heads))


def merge_window_heads(x: Tensor, num_heads: int) -> Tensor:
    """Join `(B, pixels, windows * heads, width)` to `(B, pixels, windows, heads * width)`."""
    windows = ops.shape(x)[2] // num_heads
    return reshape(x, (-1, x.shape[1], windows, num_heads * x.shape[-1]))


def window_scores(attention: Tensor, num_heads: int) -> Tensor:
    """Return `(B, windows * heads, queries, keys)` as `(B, heads, windows, queries, keys)`."""
    windows, (queries, keys) = ops.shape(attention)[1] // num_heads, attention.shape[2:]
    attention = reshape(attention, (-1, windows, num_heads, queries, keys))
    return ops.transpose(attention, (0, 2, 1, 3, 4))


def window_mask(
    inside: Tensor,
    num_heads: int,
    size: int | Pair,
    halo: int | tuple[Pair, Pair] = 0,
    interval: int = 1,
) -> Tensor:
    """Cut an image of keys `(1, H, W, 1)` that may be attended to into a mask for `attend`.

    Returns:
        `(1, windows * heads, 1, keys)`: not 0 where `inside` is not 0.
    """
    inside = ops.repeat(to_windows(inside, size, halo, interval), num_heads, axis=2)
    return ops.transpose(inside, (0, 2, 3, 1))
