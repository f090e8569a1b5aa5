"""Channels first gives the numbers of channels last, transposed, on every backend.

The first case of each layer; those of one input shape run in one model, compiled once. In
test_layers.py every case runs in both formats on PyTorch.
"""

import numpy as np
import pytest
from cases import FIRST
from test_precision import build, by_shape, predict

IMAGES = by_shape([case for case in FIRST if case.is_image])


def turned(output: np.ndarray) -> np.ndarray:
    """Return an output for images with its channels last."""
    return output.transpose(0, 2, 3, 1) if output.ndim == 4 else output


@pytest.mark.every_backend
@pytest.mark.parametrize("cases", IMAGES, ids=lambda cases: str(cases[0].shape))
def test_channels_first(cases):
    last = build(cases, data_format="channels_last")
    first = build(cases, data_format="channels_first")
    first.set_weights(last.get_weights())
    x = cases[0].draw()
    expected = predict(last, x)
    found = predict(first, x.transpose(0, 3, 1, 2))
    for case, (_, one), (_, other) in zip(cases, expected, found, strict=True):
        scale = max(1.0, np.abs(one).max())
        np.testing.assert_allclose(turned(other) / scale, one / scale, atol=1e-5, err_msg=case.id)
