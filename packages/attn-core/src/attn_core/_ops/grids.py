"""Tables over positions: at another resolution, and by offset; the matrices that resize."""

import numpy as np


def resize_grid(grid: np.ndarray, height: int, width: int, *, align_corners: bool) -> np.ndarray:
    """Resize the first two axes of a table by bilinear interpolation.

    Args:
        grid: Table, `(rows, columns, ...)`.
        height: New number of rows.
        width: New number of columns.
        align_corners: Whether the first and last entries keep their places, as for spectra and
            offsets; otherwise entries are at the centres of pixels.

    Returns:
        Table, `(height, width, ...)`.
    """
    rows = interpolation(grid.shape[0], height, align_corners=align_corners)
    columns = interpolation(grid.shape[1], width, align_corners=align_corners)
    return np.einsum("hr,wc,rc...->hw...", rows, columns, grid, optimize=True)


def resize_offsets(
    table: np.ndarray, size: tuple[int, int], new_size: tuple[int, int]
) -> np.ndarray:
    """Resize a table with an entry for each number of `offset_index`, with aligned corners.

    Args:
        table: Table, `((2 * H - 1) * (2 * W - 1), heads)`.
        size: (H, W) of the positions of the table.
        new_size: (H, W) of the positions of the new table.
    """
    rows, columns = (2 * length - 1 for length in size)
    new_rows, new_columns = (2 * length - 1 for length in new_size)
    offsets = table.reshape(rows, columns, table.shape[-1])
    resized = resize_grid(offsets, new_rows, new_columns, align_corners=True)
    return resized.reshape(new_rows * new_columns, table.shape[-1])


def interpolation(length: int, new_length: int, *, align_corners: bool) -> np.ndarray:
    """Return the weights of all `length` entries for each of `new_length` points between them."""
    points = np.arange(new_length)
    if align_corners:
        points = points * (length - 1) / max(new_length - 1, 1)
    else:
        points = np.clip((points + 0.5) * length / new_length - 0.5, 0, length - 1)
    return np.maximum(0.0, 1.0 - np.abs(np.subtract.outer(points, np.arange(length))))


def offset_index(height: int, width: int) -> np.ndarray:
    """Number the offset between each query and each key: `(H * W, H * W)`.

    Offsets are query minus key, in the order of rows, then columns, from the most negative on.
    """
    row, column = (axis.reshape(-1) for axis in np.indices((height, width)))
    rows = np.subtract.outer(row, row) + height - 1
    columns = np.subtract.outer(column, column) + width - 1
    return (rows * (2 * width - 1) + columns).astype("int32")


def averages(length: int, new_length: int) -> np.ndarray:
    """Return the weights of all `length` entries in each of `new_length` means over regions.

    Region i goes from floor(i length / new_length) to ceil((i + 1) length / new_length), as in
    PyTorch's adaptive average pooling: neighbours overlap where the division leaves a remainder.
    """
    weights = np.zeros((new_length, length))
    for i, row in enumerate(weights):
        row[i * length // new_length : -(-(i + 1) * length // new_length)] = 1.0
    return weights / weights.sum(axis=1, keepdims=True)
