"""Windows and neighbourhoods of an image, against loops over its pixels."""

import keras
import numpy as np
import pytest
from attn_core import NeighborhoodAttention
from attn_core._ops.windows import from_windows, nearest, neighbours, to_windows
from keras import ops


@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, (2, 4)], ids=str)
@pytest.mark.parametrize("halo", [0, 1, ((5, 2), (0, 3))], ids=str)
def test_windows_pixel_by_pixel(size, halo, interval):
    h, w = (size, size) if isinstance(size, int) else size
    (above, below), (left, right) = ((halo, halo), (halo, halo)) if isinstance(halo, int) else halo
    height, width = 2 * h * interval, 3 * w * interval
    image = np.arange(1.0, 1 + 2 * height * width * 2).reshape(2, height, width, 2)
    image = image.astype("float32")
    windows = [
        [
            (top * interval * h + down, side * interval * w + across)
            for down in range(interval)
            for across in range(interval)
        ]
        for top in range(2)
        for side in range(3)
    ]
    expected = np.zeros((2, h + above + below, w + left + right, 6 * interval**2, 2), "float32")
    for number, (top, side) in enumerate(corner for block in windows for corner in block):
        for r, c in np.ndindex(*expected.shape[1:3]):
            row, column = top + (r - above) * interval, side + (c - left) * interval
            if 0 <= row < height and 0 <= column < width:
                expected[:, r, c, number] = image[:, row, column]
    cut = to_windows(ops.convert_to_tensor(image), size, halo, interval)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(cut), expected.reshape(2, -1, *expected.shape[3:])
    )
    if halo == 0:
        joined = from_windows(cut, size, height, width, interval)
        np.testing.assert_array_equal(ops.convert_to_numpy(joined), image)


@pytest.mark.every_backend
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 1), (5, 2), (3, 3), (1, 2)])
def test_neighbours_pixel_by_pixel(kernel_size, strides, mirror):
    image = np.random.default_rng(0).standard_normal((2, 7, 6, 3)).astype("float32")
    half = kernel_size // 2
    padded = np.pad(
        image, ((0, 0), (half, half), (half, half), (0, 0)), "reflect" if mirror else "constant"
    )
    found = neighbours(ops.convert_to_tensor(image), kernel_size, strides, mirror)
    for number, (row, column) in enumerate(np.ndindex(kernel_size, kernel_size)):
        expected = padded[:, row : row + 7 : strides, column : column + 6 : strides]
        np.testing.assert_array_equal(ops.convert_to_numpy(found[number]), expected)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize(
    ("length", "dilation"),
    [
        *((5, 1), (14, 1), (16, 1), (10, 2), (11, 2)),
        pytest.param(23, 3, marks=pytest.mark.every_backend),
    ],
)
def test_nearest_position_by_position(length, dilation, side, known):
    """Each position finds its five nearest among the keys of its block, in their order."""
    given = length if known else ops.convert_to_tensor(length, "int32")
    line = nearest(given, 5, dilation, side)
    queries, keys, steps = (ops.convert_to_numpy(part) for part in line[:3])
    inside = np.ones_like(steps, bool) if side == 1 else ops.convert_to_numpy(line.inside)
    order = np.arange(length) if dilation == 1 else ops.convert_to_numpy(line.order)
    for position, place in enumerate(order):
        block, query = divmod(place, side)
        assert queries[block, query] == position
        group = list(range(position % dilation, length, dilation))
        start = min(max(group.index(position) - 2, 0), len(group) - 5)
        seen = inside[block, query]
        assert keys[block][seen].tolist() == group[start : start + 5]
        expected = [(key - position) // dilation for key in group[start : start + 5]]
        assert steps[block, query][seen].tolist() == expected
    assert keys.min() >= 0
    assert keys.max() < length


@pytest.mark.every_backend
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="sizes as tensors")
def test_neighbourhoods_in_a_graph_of_any_size():
    """Whether to pad an image smaller than a neighbourhood is not known before its size is."""
    import tensorflow as tf

    layer = NeighborhoodAttention(3, num_heads=2, data_format="channels_last")
    layer.build((None, None, None, 8))
    call = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 8))])
    for size in ((5, 4), (2, 6)):
        x = np.random.default_rng(0).standard_normal((1, *size, 8)).astype("float32")
        np.testing.assert_allclose(call(x), layer(x), atol=1e-6)
