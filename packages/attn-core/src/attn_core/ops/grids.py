"""Tables over positions, at another resolution. They are weights: arrays, resized once."""

import numpy as np


def resize_grid(grid: np.ndarray, height: int, width: int, *, align_corners: bool) -> np.ndarray:
    """Resize the first two axes of a table by bilinear interpolation.

    Args:
        grid: Table, `(rows, columns, ...)`.
        height: New number of rows.
        width: New number of columns.
        align_corners: Whether the first and last entries stay where they are, as for spectra and
            offsets; otherwise entries are the middles of pixels.

    Returns:
        Table, `(height, width, ...)`.
    """
    rows = _interpolation(grid.shape[0], height, align_corners)
    columns = _interpolation(grid.shape[1], width, align_corners)
    return np.einsum("hr,wc,rc...->hw...", rows, columns, grid, optimize=True)


def _interpolation(length: int, new_length: int, align_corners: bool) -> np.ndarray:
    """Return the weights of `length` entries for each of `new_length` points between them."""
    points = np.arange(new_length)
    if align_corners:
        points = points * (length - 1) / max(new_length - 1, 1)
    else:
        points = np.clip((points + 0.5) * length / new_length - 0.5, 0, length - 1)
    return np.maximum(0.0, 1.0 - np.abs(np.subtract.outer(points, np.arange(length))))
