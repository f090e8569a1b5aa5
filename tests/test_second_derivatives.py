"""Second derivatives, as in gradient penalties and meta-learning."""

import keras
import numpy as np
import pytest
from attn_core import ScaledDotProductAttention
from cases import CASES, each

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="JAX and TensorFlow differentiate every operation"
)

RECTIFIED = ("SKAttention", "CoTAttention", "SplitAttention")
"""Layers of which a step crosses kinks, so that no difference gives the slope."""


@pytest.fixture(autouse=True)
def _switch():
    before = keras.config.is_flash_attention_enabled()
    keras.config.disable_flash_attention()
    yield
    if before is not False:
        keras.config.enable_flash_attention()


def penalty(layer, x):
    """Return the squared length of the gradient, and its derivative by the input."""
    import torch

    x = torch.tensor(x, requires_grad=True)
    output = layer(x)
    (gradient,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    length = gradient.square().sum()
    (second,) = torch.autograd.grad(length, x)
    return length.item(), second.numpy()


@each(CASES)
def test_second_derivatives(case):
    """The second derivative agrees with differences of the first, in a random direction."""
    layer = case.make(dtype="float64")
    x = case.draw(scale=0.5, dtype="float64")
    layer.build(x.shape)
    _, second = penalty(layer, x)
    direction = np.random.default_rng(1).standard_normal(x.shape)
    step = 3e-4 * direction  # Keras computes some means in float32: a smaller one drowns
    slope = (penalty(layer, x + step)[0] - penalty(layer, x - step)[0]) / 6e-4
    product = second * direction
    assert np.isfinite(product).all()
    assert np.abs(product).max() > 0
    if case.layer in RECTIFIED:
        return
    assert abs(product.sum() - slope) <= 1e-2 * np.abs(product).sum()


def test_fused_attention_has_none():
    """Where this fails, PyTorch has it, and the switch is no longer needed."""
    keras.config.enable_flash_attention()
    x = np.random.default_rng(0).standard_normal((2, 9, 16)).astype("float32")
    with pytest.raises(RuntimeError, match="derivative"):
        penalty(ScaledDotProductAttention(2), x)
