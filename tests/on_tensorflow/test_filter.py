"""The filter by FFTs against the portable one: numbers, gradients, files, networks."""

import attn_core
import attn_tf
import keras
import numpy as np
import pytest
import tensorflow as tf
from attn_core import load_torch_weights, models
from attn_tf import filters
from gradients import value_and_gradients
from keras.src import testing
from networks import TINY
from reference import MODEL_VECTORS, VECTORS, read

pytestmark = pytest.mark.every_backend  # these run on TensorFlow alone

SIZES = [(7, 7), (14, 14), (9, 5), (6, 8), (5, 1), (40, 36)]


def pair(size, channels=6, **options):
    """Return a portable filter and one of attn_tf, of equal weights, and an input."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, *size, channels)).astype("float32")
    layers = [attn_core.GlobalFilter(), attn_tf.GlobalFilter(**options)]
    for layer in layers:
        layer.build(x.shape)
    weights = [rng.standard_normal(one.shape) for one in layers[0].weights]
    for layer in layers:
        layer.set_weights(weights)
    return *layers, x


def assert_equal(ours, portable, x):
    """Output, gradient of the input, gradient of the weights."""
    found, expected = (value_and_gradients(layer, [x]) for layer in (ours, portable))
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", [None, "fft", "matrix"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_same_numbers_and_gradients(size, method):
    portable, ours, x = pair(size, method=method)
    assert_equal(ours, portable, x)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_an_inverse_may_ignore_is_not_there(size, monkeypatch):
    """On GPUs the spectrum that goes back is one of a real image, as cuFFT wants it."""
    inverse, seen = tf.signal.irfft2d, []
    monkeypatch.setattr(filters, "exact_products", lambda: False)
    monkeypatch.setattr(
        tf.signal, "irfft2d", lambda one, **options: (seen.append(one), inverse(one, **options))[1]
    )
    portable, ours, x = pair(size)
    assert_equal(ours, portable, x)
    ours(x)
    spectrum, width = seen[-1].numpy(), size[1]
    for column in {0, width // 2} if width % 2 == 0 else {0}:
        assert np.abs(np.fft.ifft(spectrum[..., column]).imag).max() < 1e-5


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
def test_in_graphs_and_by_xla(compiled):
    portable, ours, x = pair((14, 9), method="fft")
    function = tf.function(lambda x: ours(x), jit_compile=compiled)
    np.testing.assert_allclose(function(x), portable(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(14, 9), (14, 8)], ids=str)
def test_gradients_by_xla(size):
    portable, ours, x = pair(size, method="fft")

    def gradients(layer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) * x)
        return tape.gradient(loss, layer.trainable_weights[0].value)

    found = tf.function(lambda: gradients(ours), jit_compile=True)()
    np.testing.assert_allclose(found, gradients(portable), rtol=0, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("method", ["fft", "matrix"])
def test_precision(policy, method):
    portable, ours, x = pair((8, 6), method=method, dtype=policy)
    if policy == "float64":
        portable = attn_core.GlobalFilter(dtype=policy)
        portable.build(x.shape)
        portable.set_weights(ours.get_weights())
    output = ours(x)
    assert output.dtype.name == ours.compute_dtype
    atol = {"mixed_float16": 5e-3, "mixed_bfloat16": 5e-2, "float64": 1e-12}[policy]
    expected = tf.cast(portable(x), "float64")
    np.testing.assert_allclose(tf.cast(output, "float64"), expected, rtol=0, atol=atol)


def test_conformance_config_and_unknown_sizes():
    testing.TestCase().run_layer_test(
        attn_tf.GlobalFilter,
        {"spatial_shape": (6, 5), "method": "fft", "data_format": "channels_last"},
        input_shape=(2, 6, 5, 4),
    )
    _, ours, x = pair((6, 5), method="fft")
    outputs = [
        keras.Model(inputs, ours(inputs))(x)
        for inputs in (keras.Input((6, 5, 6)), keras.Input((None, None, 6)))
    ]
    np.testing.assert_allclose(outputs[0], outputs[1])
    first = attn_tf.GlobalFilter(method="fft", data_format="channels_first")
    first.build((2, 6, 6, 5))
    first.set_weights(ours.get_weights())
    transposed = tf.transpose(first(tf.transpose(x, (0, 3, 1, 2))), (0, 2, 3, 1))
    np.testing.assert_allclose(transposed, ours(x), atol=1e-6)


@pytest.mark.parametrize("method", ["FFT", 1, True])
def test_bad_method(method):
    with pytest.raises(ValueError, match=r"GlobalFilter.*`method` must be one of") as caught:
        attn_tf.GlobalFilter(method=method)
    assert repr(method) in str(caught.value)


@pytest.mark.parametrize("side", [filters.LARGEST_SIDE, filters.LARGEST_SIDE + 1])
def test_default_goes_by_size(side):
    _, ours, x = pair((side, 3))
    operations = tf.function(lambda x: ours(x)).get_concrete_function(x).graph.get_operations()
    has_fft = any("RFFT" in one.type for one in operations)
    assert has_fft == (side > filters.LARGEST_SIDE)


VECTOR_PATHS = [path for path in VECTORS if path.name.startswith("global_filter__")]
VECTOR_PATHS += [path for path in MODEL_VECTORS if path.name.startswith("model_gfnet")]


@pytest.mark.parametrize("path", VECTOR_PATHS, ids=lambda path: path.stem)
def test_authors_numbers(path):
    meta, arrays = read(path)
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["config"].items()}
    layer = getattr(attn_tf, meta["layer"])(**config)
    if not layer.built:
        layer.build(arrays["input/x"].shape)
    for one in layer._flatten_layers():
        if isinstance(one, attn_tf.GlobalFilter):
            one.method = "fft"
    load_torch_weights(layer, path, prefix="weights/")
    output, (gradient,), _ = value_and_gradients(layer, [arrays["input/x"]], arrays["cotangent"])
    assert np.abs(output - arrays["output"]).max() <= meta["atol"]
    assert np.abs(gradient - arrays["grad/x"]).max() <= 10 * meta["atol"]


@pytest.mark.parametrize("name", ["GFNet", "GFNetPyramid"])
def test_networks_share_weights_files(name, tmp_path):
    """Each reads the other's file; outputs and gradients are equal."""
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    networks = [getattr(package, name) for package in (models, attn_tf)]
    assert networks[0].list_variants() == networks[1].list_variants()
    for write, read_ in (networks, networks[::-1]):
        one, other = write(**TINY[name], num_classes=3), read_(**TINY[name], num_classes=3)
        one.save_weights(tmp_path / "model.weights.h5")
        other.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_allclose(one(x), other(x), rtol=0, atol=1e-5)
    kinds = {type(layer) for layer in other._flatten_layers()}
    assert (attn_tf.GlobalFilter in kinds) == (read_ is networks[1])
    for a, b in zip(*(value_and_gradients(model, [x])[1:] for model in (one, other)), strict=True):
        for ours, theirs in zip(a, b, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_network_file(tmp_path):
    model = attn_tf.GFNet(**TINY["GFNet"], num_classes=3)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(reloaded) is attn_tf.GFNet
    assert reloaded.get_config() == model.get_config()
    x = np.ones((1, 64, 64, 3), "float32")
    np.testing.assert_allclose(reloaded(x), model(x), atol=1e-6)
