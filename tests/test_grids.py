"""Tables resized by bilinear interpolation, against NumPy's and Keras' own."""

import keras
import numpy as np
import pytest
from attn_core._ops.grids import averages, resize_grid


@pytest.mark.parametrize("size", [(7, 5), (3, 2), (1, 1), (11, 4)])
def test_corners_kept(size):
    grid = np.random.default_rng(0).standard_normal((5, 4, 2))
    resized = resize_grid(grid, *size, align_corners=True)
    rows, columns = (np.linspace(0, old - 1, new) for old, new in zip((5, 4), size, strict=True))
    for channel in range(2):
        across = np.stack([np.interp(columns, np.arange(4), row) for row in grid[..., channel]])
        both = np.stack([np.interp(rows, np.arange(5), column) for column in across.T], axis=1)
        np.testing.assert_allclose(resized[..., channel], both, atol=1e-12)


@pytest.mark.parametrize("size", [(7, 5), (3, 2), (1, 1), (10, 8)])
def test_middles_of_pixels(size):
    grid = np.random.default_rng(0).standard_normal((5, 4, 2)).astype("float32")
    resized = resize_grid(grid, *size, align_corners=False)
    expected = keras.ops.image.resize(grid, size, data_format="channels_last")
    np.testing.assert_allclose(resized, keras.ops.convert_to_numpy(expected), atol=1e-6)


@pytest.mark.parametrize(("length", "regions"), [(8, 4), (8, 3), (7, 5), (5, 5), (3, 7)])
def test_regions_of_means(length, regions):
    """PyTorch's adaptive average pooling; with more regions than entries, some are alike."""
    x = np.random.default_rng(0).standard_normal(length)
    expected = [
        x[i * length // regions : int(np.ceil((i + 1) * length / regions))].mean()
        for i in range(regions)
    ]
    np.testing.assert_allclose(averages(length, regions) @ x, expected, atol=1e-12)
