"""One model, called from eight threads at once, gives each what it gives alone."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import keras
import numpy as np
import pytest
from attn_core import attention_maps, layers
from keras import ops

THREADS = 8
CALLS = 3


def build():
    """Return a model of layers of five families; its last two outputs are attention maps."""
    last = {"data_format": "channels_last"}
    x = inputs = keras.Input((6, 6, 8))
    x = layers.SEAttention(2, name="se", **last)(x)
    x, gates = layers.CBAM(2, name="cbam", **last)(x, return_attention_scores=True)
    x = layers.CoTAttention(name="cot", share_planes=4, **last)(x)
    x = layers.GlobalFilter(name="filter", **last)(x)
    tokens = keras.layers.LayerNormalization()(keras.layers.Reshape((36, 8))(x))
    attention = layers.ScaledDotProductAttention(2, name="attention")
    tokens, scores = attention(tokens, return_attention_scores=True)
    tokens = keras.layers.LayerNormalization()(tokens)
    tokens = layers.ExternalAttention(4, name="external", dropout=0.5)(tokens)
    model = keras.Model(inputs, [tokens, gates[0], scores])
    rng = np.random.default_rng(1)
    for weight in model.weights:  # initial filters are near zero, and would hide what they take
        values = rng.standard_normal(weight.shape)
        weight.assign(1 + values**2 if "norm" in weight.path.casefold() else values)
    return model


MODEL = build()
IMAGES = np.random.default_rng(0).standard_normal((THREADS, 2, 6, 6, 8)).astype("float32")


def numpy(nested):
    return [ops.convert_to_numpy(one) for one in keras.tree.flatten(nested)]


def compiled():
    """Return the model as a function that is compiled, as a server would call it."""
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x: MODEL(x, training=False))
    if keras.config.backend() == "jax":
        import jax

        step = jax.jit(lambda *state: MODEL.stateless_call(*state, training=False)[0])
        weights = MODEL.trainable_variables, MODEL.non_trainable_variables
        return lambda x: step(*([one.value for one in part] for part in weights), x)
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = MODEL

        def forward(self, x):
            return tuple(self.model(x, training=False))

    # A trace: `torch.compile` takes minutes, and compiles in one thread at a time.
    traced = torch.jit.trace(Network(), torch.tensor(IMAGES[0]), check_trace=False)
    return lambda x: traced(torch.tensor(x))


def maps(x):
    return attention_maps(MODEL, x)


WAYS = {
    "eager": lambda: lambda x: MODEL(x, training=False),
    "compiled": compiled,
    "attention_maps": lambda: maps,
}


@pytest.mark.parametrize("way", WAYS)
def test_eight_threads(way):
    call = WAYS[way]()
    alone = [numpy(call(images)) for images in IMAGES]
    pairs = zip(alone[0], alone[1], strict=True)
    assert sum(np.abs(one - other).max() > 1e-3 for one, other in pairs) >= 3  # they do differ
    start = Barrier(THREADS)

    def work(number):
        start.wait()
        return [numpy(call(IMAGES[number])) for _ in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(work, range(THREADS)))
    for expected, results in zip(alone, together, strict=True):
        assert len(results) == CALLS
        for result in results:
            for one, other in zip(expected, result, strict=True):
                np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_the_first_call_may_be_of_eight_threads():
    """A function that no call has compiled yet, and threads that arrive together."""
    call = compiled()
    start = Barrier(THREADS)

    def work(number):
        start.wait()
        return numpy(call(IMAGES[number]))

    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(work, range(THREADS)))
    for images, result in zip(IMAGES, together, strict=True):
        # Eagerly the sums are in another order.
        for one, other in zip(numpy(call(images)), result, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_maps_of_one_thread_are_not_those_of_another():
    """While one thread records maps, what others call leaves no map in its record."""
    start = Barrier(2)

    def record():
        start.wait()
        return [maps(IMAGES[0]) for _ in range(CALLS)]

    def call():
        start.wait()
        for _ in range(2 * CALLS):
            assert len(MODEL(IMAGES[1], training=False)) == 3

    expected = maps(IMAGES[0])
    with ThreadPoolExecutor(2) as pool:
        recorded, called = pool.submit(record), pool.submit(call)
        called.result()
        for one in recorded.result():
            assert list(one) == list(expected)  # no second call of a layer, "se#2"
            for left, right in zip(numpy(one), numpy(expected), strict=True):
                np.testing.assert_allclose(left, right, atol=1e-6)
