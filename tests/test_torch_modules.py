"""Layers within `torch.nn.Module`, as the page "Start here" describes it."""

import keras
import numpy as np
import pytest
from attn_core import CBAM
from cases import FIRST, each

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(keras.config.backend() != "torch", reason="modules are PyTorch's")


def module(case):
    """Return a PyTorch module that holds a layer of a case as the documentation recommends."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = case.make(name="attention")
            self.attention.build(case.shape)

        def forward(self, x):
            return self.attention(x)

    return Block()


@each(FIRST)
def test_parameters_and_state(case):
    """Built and named, it shows its parameters before a call, and loads into a second instance."""
    one, other = module(case), module(case)
    learned = [p for p in one.parameters() if p.requires_grad]
    assert len(learned) == len(one.attention.trainable_weights)
    x = torch.tensor(case.draw())
    state = one.state_dict()
    assert list(state) == list(other.state_dict())
    assert len(state) >= len(one.attention.weights)
    for parameter in learned:
        torch.nn.init.normal_(parameter, std=0.3)
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one(x).detach().numpy(), other(x).detach().numpy())


@each(
    [case for case in FIRST if case.layer in ("CBAM", "SEAttention", "ScaledDotProductAttention")]
)
def test_training(case):
    """An optimizer of PyTorch trains it."""
    block = module(case)
    x = torch.tensor(case.draw())
    optimizer = torch.optim.SGD(block.parameters(), 0.01)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (block(x) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_training_flag():
    """`train()` does not reach the layer: its call takes the flag."""
    layer = CBAM(2, name="attention")
    layer.build((None, 4, 4, 8))
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 8)).astype("float32")
    before = [keras.ops.convert_to_numpy(one).copy() for one in layer.non_trainable_weights]
    layer.train()
    layer(x)
    for one, old in zip(layer.non_trainable_weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), old)
    layer(x, training=layer.training)
    now = [keras.ops.convert_to_numpy(one) for one in layer.non_trainable_weights]
    assert any((one != old).any() for one, old in zip(now, before, strict=True))
