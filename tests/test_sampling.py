"""Bilinear interpolation: numbers and gradients are those of loops over positions."""

import numpy as np
import pytest
from attn_core._ops.sampling import sample, sample_grids
from gradients import value_and_gradients
from keras import layers

IMAGE = np.random.default_rng(1).standard_normal((2, 5, 7, 3)).astype("float32")
ROWS = np.array([[0, 4, 1.25, -0.5, 4.5, -3], [2.5, 3, 0.1, 6, -1, 2]], "float32")
COLUMNS = np.array([[0, 6, 5.75, 2.5, 6.25, 1], [-0.25, 4.4, 6.9, 2, 3, 0.5]], "float32")


class Sampling(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, image, rows, columns):
        return self.function(image, rows, columns)


def at(image, row, column):
    """Interpolate an image `(H, W, C)`, and return the slopes in rows and columns too."""
    padded = np.pad(image.astype("float64"), ((9, 9), (9, 9), (0, 0)))
    top, left = int(np.floor(row)), int(np.floor(column))
    down, right = row - top, column - left
    (a, b), (c, d) = padded[top + 9 : top + 11, left + 9 : left + 11]
    value = (a * (1 - right) + b * right) * (1 - down) + (c * (1 - right) + d * right) * down
    in_rows = (c - a) * (1 - right) + (d - b) * right
    in_columns = (b - a) * (1 - down) + (d - c) * down
    return value, in_rows, in_columns


@pytest.mark.every_backend
def test_an_image_is_sampled():
    cotangent = np.random.default_rng(2).standard_normal((2, 6, 3)).astype("float32")
    inputs = [IMAGE, ROWS, COLUMNS]
    output, (of_image, *of_positions), _ = value_and_gradients(Sampling(sample), inputs, cotangent)
    assert output.shape == (2, 6, 3)
    for b, p in np.ndindex(2, 6):
        value, *slopes = at(IMAGE[b], ROWS[b, p], COLUMNS[b, p])
        np.testing.assert_allclose(output[b, p], value, atol=1e-5)
        for slope, gradient in zip(slopes, of_positions, strict=True):
            np.testing.assert_allclose(gradient[b, p], slope @ cotangent[b, p], atol=1e-5)
    # Sampling is linear in the image: its gradient is the transpose.
    np.testing.assert_allclose((of_image * IMAGE).sum(), (output * cotangent).sum(), rtol=1e-4)


@pytest.mark.every_backend
def test_tables_are_sampled_at_grids():
    table = np.moveaxis(IMAGE, 3, 2)  # 2 groups of 3 maps of 5 x 7
    rows = np.stack([ROWS, ROWS + 0.3])[:, :, None, :4]  # 2 groups, a batch of 2, 1 grid, 4 rows
    columns = np.stack([COLUMNS, COLUMNS - 0.3])[:, :, None]
    output, gradients, _ = value_and_gradients(
        Sampling(sample_grids), [table, rows, columns], np.ones((2, 2, 1, 4, 3, 6), "float32")
    )
    assert output.shape == (2, 2, 1, 4, 3, 6)
    for g, b, i, j in np.ndindex(2, 2, 4, 6):
        value, _, _ = at(IMAGE[g], rows[g, b, 0, i], columns[g, b, 0, j])
        np.testing.assert_allclose(output[g, b, 0, i, :, j], value, atol=1e-5)
    between = [at(IMAGE[1], rows[1, 1, 0, 0], column) for column in columns[1, 1, 0]]
    expected = sum(slope.sum() for _, slope, _ in between)
    np.testing.assert_allclose(gradients[1][1, 1, 0, 0], expected, rtol=1e-4)
