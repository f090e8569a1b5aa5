"""The tools on networks that are quantized to int8 or have LoRA: refusals, or the same results."""

import warnings

import keras
import numpy as np
import pytest
from attn_core import ParNetAttention, insert_attention, load_torch_weights, models
from attn_core._weights.entries import entries
from attn_core._weights.plain import check_plain
from networks import TINY
from test_layers import numpy


def quantize(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Keras leaves as it is
        model.quantize("int8")


def add_lora(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dense):
            layer.enable_lora(2)
            layer.lora_kernel_b.assign(np.full(layer.lora_kernel_b.shape, 0.1))


ADAPT = {"int8": quantize, "LoRA": add_lora}
adapted = pytest.mark.parametrize("kind", ADAPT)


def make(name, **options):
    return getattr(models, name)(**TINY[name], num_classes=3, name="mine", **options)


def assert_refused(kind, model, task, cure):
    before = [numpy(weight) for weight in model.weights]
    with pytest.raises(ValueError, match=f"{type(model).__name__} 'mine': .*{cure}.*{kind} in '"):
        task(model)
    for one, other in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(one, numpy(other))


@adapted
@pytest.mark.parametrize("name", TINY)
def test_weights_are_not_loaded(name, kind):
    """A kernel of int8 would round 0.3 to 0; that of LoRA is a sum."""
    model = make(name)
    state = {key: np.full(entry.shape, 0.3) for key, entry in entries(model).items()}
    ADAPT[kind](model)
    assert_refused(kind, model, lambda model: load_torch_weights(model, state), "load them first")
    load_torch_weights(make(name), state)


@adapted
@pytest.mark.parametrize("name", [name for name in TINY if "image_size" in TINY[name]])
def test_is_not_resized(name, kind):
    model = make(name)
    ADAPT[kind](model)
    assert_refused(kind, model, lambda model: model.resized(96), "resize it first")


@adapted
def test_is_not_fused(kind):
    model = make("ParNet")
    ADAPT[kind](model)
    assert_refused(kind, model, lambda model: model.fuse(), "fuse it first")


@adapted
def test_layer_is_not_fused(kind):
    x = keras.Input((6, 6, 8))
    layer = ParNetAttention(name="mine")
    model = keras.Model(x, layer(x), name="model")
    ADAPT[kind](model)
    with pytest.raises(ValueError, match="ParNetAttention 'mine': fuse it first"):
        layer.fuse()


@adapted
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_insertion(kind, policy):
    """What is inserted is in full precision; all else computes as before."""
    x = keras.Input((6, 6, 8))
    y = keras.layers.Dense(8, name="dense", dtype=policy)(x)
    y = keras.layers.Dense(8, name="after", dtype=policy)(
        keras.layers.ReLU(name="relu", dtype=policy)(y)
    )
    model = keras.Model(x, y)
    ADAPT[kind](model)
    images = np.random.default_rng(0).standard_normal((2, 6, 6, 8)).astype("float32")
    expected = numpy(model(images))
    for where in ("dense", "relu", "after"):
        layer = insert_attention(model, "se", where, reduction=2).get_layer(f"{where}_se")
        assert layer.dtype_policy.name == policy
    copy = insert_attention(model, lambda layer: keras.layers.Identity(), "dense")
    atol = {"float32": 1e-6, "mixed_bfloat16": 0.05}[policy]  # the copy has LoRA in its kernels
    np.testing.assert_allclose(numpy(copy(images)), expected, atol=atol)


@adapted
@pytest.mark.parametrize("name", ["MobileViT", "GFNet"])
def test_insertion_into_networks(name, kind):
    model = make(name)
    ADAPT[kind](model)
    copy = insert_attention(model, lambda layer: keras.layers.Identity(), model.layers[3].name)
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(numpy(copy(images)), numpy(model(images)), atol=1e-5)


def test_changed_kernels_are_counted():
    """The first one is named, and how many more there are."""
    model = keras.Sequential([keras.Input((4,))] + [keras.layers.Dense(4) for _ in range(3)])
    check_plain(model, "Give weights")
    for changed, words in enumerate(("'$", "'.* and 1 more$", "'.* and 2 more$")):
        model.layers[changed].quantize("int8")
        with pytest.raises(ValueError, match=f"int8 in '{model.layers[0].path}{words}"):
            check_plain(model, "Give weights")
