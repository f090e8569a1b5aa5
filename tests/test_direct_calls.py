"""On PyTorch, layers and their parts are called without Keras' own steps where these do nothing."""

import keras
import numpy as np
import pytest
from attn_core import CBAM, SEAttention
from attn_core.layers import _sublayer
from cases import FIRST, each
from gradients import layer_takes_training
from keras import ops

pytestmark = pytest.mark.skipif(keras.config.backend() != "torch", reason="PyTorch's eager calls")


@pytest.fixture
def by_keras(monkeypatch):
    """The layers that Keras calls, in their order."""
    called = []
    call = keras.layers.Layer.__call__

    def counted(self, *args, **kwargs):
        called.append(self)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(keras.layers.Layer, "__call__", counted)
    return called


@each(FIRST)
@pytest.mark.parametrize("training", [False, True])
def test_same_numbers(case, training, by_keras, monkeypatch):
    """No part of ours needs Keras, and what is computed is the same."""
    x, results = ops.convert_to_tensor(case.draw()), []
    for costs in (True, False):
        monkeypatch.setattr(_sublayer, "calls_cost", lambda costs=costs: costs)
        keras.utils.set_random_seed(1)
        layer = case.make()
        layer.build(case.shape)
        by_keras.clear()
        output = layer(x, **({"training": training} if layer_takes_training(layer) else {}))
        results.append([output, *layer.weights])
        ours = [one for one in by_keras if type(one).__module__.startswith("attn_core")]
        assert (ours == []) == costs
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (ours, theirs)))


def test_other_policy_around(by_keras):
    """In a model of half precision, a layer in float32 keeps its weights in float32."""
    inputs = keras.Input((4, 4, 8))
    layer = SEAttention(2, dtype="float32")
    model = keras.Model(inputs, layer(inputs))
    model.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 8)).astype("float32")
    expected = ops.convert_to_numpy(layer(ops.convert_to_tensor(x)))
    by_keras.clear()
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), expected)
    assert layer in by_keras


def test_mixed_precision(by_keras):
    layer = SEAttention(2, dtype="mixed_bfloat16")
    x = ops.ones((2, 4, 4, 8))
    for _ in range(2):
        by_keras.clear()
        assert keras.backend.standardize_dtype(layer(x).dtype) == "bfloat16"
        assert by_keras == [layer, layer.squeeze, layer.excite]


@pytest.mark.parametrize("training", [False, True])
def test_training_of_the_layer_around(training):
    """A layer that is not told whether it trains learns it from the layers around."""

    class Around(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = CBAM(2)

        def call(self, x):
            return self.inner(x)

    around, x = Around(), ops.ones((2, 4, 4, 8))
    around(x)
    before = ops.convert_to_numpy(around.inner.norm.moving_mean)
    around(x, training=training)
    after = ops.convert_to_numpy(around.inner.norm.moving_mean)
    assert (before == after).all() == (not training)


def test_a_mask_is_not_overlooked():
    layer = SEAttention(2)
    x = ops.ones((2, 5, 8))
    layer(x)
    x._keras_mask = ops.ones((2, 5), "bool")
    with pytest.raises(ValueError, match="takes no padding mask"):
        layer(x)


def test_other_shapes_are_refused(by_keras):
    layer = SEAttention(2)
    layer(ops.ones((2, 4, 4, 8)))
    with pytest.raises(ValueError, match="expected axis -1"):
        layer(ops.ones((2, 4, 4, 6)))
    with pytest.raises(ValueError, match="expected ndim=4"):
        layer(ops.ones((2, 4, 8)))


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_quantized(mode, by_keras):
    """A quantized part is called by Keras, which calls its quantized form."""
    inputs = keras.Input((4, 4, 8))
    layer = SEAttention(2)
    model = keras.Model(inputs, layer(inputs))
    model.quantize(mode)
    by_keras.clear()
    layer(ops.ones((2, 4, 4, 8)))
    assert {layer.squeeze, layer.excite} <= set(by_keras)
