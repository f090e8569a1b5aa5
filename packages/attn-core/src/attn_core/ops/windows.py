"""Neighbourhoods of an image `(B, H, W, C)`: slices of the padded map, and their way back."""

from keras import ops

from attn_core.ops.convolution import pad_image
from attn_core.ops.precision import upcast


def neighbours(x, kernel_size: int, strides: int = 1) -> list:
    """Return what lies at each of the k * k offsets around every strides-th position.

    Offsets run row by row from the top left; beyond the border lie zeros. Each entry has the shape
    `(B, ceil(H / strides), ceil(W / strides), C)`.
    """
    height, width = ops.shape(x)[1], ops.shape(x)[2]
    x = pad_image(x, kernel_size // 2)
    return [
        x[:, row : row + height : strides, column : column + width : strides]
        for row in range(kernel_size)
        for column in range(kernel_size)
    ]


def fold(parts: list, kernel_size: int, strides: int, height, width):
    """Add up overlapping windows into an image `(B, H, W, C)`: the transpose of `neighbours`.

    Args:
        parts: The k * k maps `(B, ceil(H / strides), ceil(W / strides), C)`, by offset.
        kernel_size: Odd size k of the windows.
        strides: Distance of the windows.
        height: H, of the image.
        width: W, of the image.
    """
    extent = -(-(kernel_size - 1) // strides)  # in windows, how far one reaches into the next

    def place(row, column):
        down, right = row // strides, column // strides
        padding = ((0, 0), (down, extent - down), (right, extent - right), (0, 0))
        return ops.pad(parts[row * kernel_size + column], padding)

    def total(row, column):
        """Sum what falls on every strides-th pixel, from (row, column) on."""
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


def _interleave(parts: list, axis: int):
    """Alternate the rows (axis 1) or columns (axis 2) of equal images."""
    if len(parts) == 1:
        return parts[0]
    shape = [*ops.shape(parts[0])]
    shape[axis] = shape[axis] * len(parts)
    return ops.reshape(ops.stack(parts, axis=axis + 1), shape)


def mean_pool(x, size: int):
    """Average blocks of size x size pixels; those cut by the border, over the pixels they have."""

    def pool(x):
        x = ops.pad(x, ((0, 0), (0, size - 1), (0, size - 1), (0, 0)))
        return ops.average_pool(x, size, size, "valid", "channels_last")

    exact = upcast(x)
    inside = pool(ops.ones_like(exact[:1, :, :, :1]))
    return ops.cast(pool(exact) / inside, x.dtype)  # (B, ceil(H / size), ceil(W / size), C)


def to_blocks(x, block_size: int, halo_size: int = 0):
    """Cut `(B, H, W, C)` into blocks, each with a halo of its neighbours' pixels around it.

    Beyond the border lie zeros. H and W must be multiples of `block_size`.

    Returns:
        `(B * blocks, window * window, C)`, window = block_size + 2 * halo_size.
    """
    batch, height, width, channels = *ops.shape(x)[:3], x.shape[-1]
    rows, columns = height // block_size, width // block_size
    window = block_size + 2 * halo_size
    fill = -2 * halo_size % block_size  # up to whole blocks
    around = (halo_size, halo_size + fill)
    x = ops.pad(x, ((0, 0), around, around, (0, 0))) if halo_size else x
    further = (2 * halo_size + fill) // block_size  # blocks that a window reaches into
    shape = (batch, rows + further, block_size, columns + further, block_size * channels)
    x = ops.transpose(ops.reshape(x, shape), (0, 1, 3, 2, 4))
    # A window is a whole block, whole blocks next to it and a part of the last: first along
    # the rows, then along the columns, which share the last axis with the channels.
    sizes = [min(block_size, window - start) for start in range(0, window, block_size)]
    if further:
        x = ops.concatenate([x[:, i : i + rows, :, :n] for i, n in enumerate(sizes)], axis=3)
        x = ops.concatenate(
            [x[:, :, i : i + columns, :, : n * channels] for i, n in enumerate(sizes)], axis=4
        )  # (B, rows, columns, window, window * C)
    return ops.reshape(x, (-1, window * window, channels))


def from_blocks(x, block_size: int, height, width):
    """Put blocks `(B * blocks, block_size * block_size, C)` together, to `(B, H, W, C)`."""
    rows, columns, channels = height // block_size, width // block_size, x.shape[-1]
    x = ops.reshape(x, (-1, rows, columns, block_size, block_size * channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4))
    return ops.reshape(x, (-1, height, width, channels))
