"""What users ran into, where no other file of tests is about it; docs/situations.md lists it."""

import json
import re
import warnings

import attn_core
import keras
import numpy as np
import pytest
from attn_core import CBAM, insert_attention, models
from attn_core._cli.images import as_array, open_image
from cases import CASES, FIRST
from networks import TINY
from PIL import Image
from typer import BadParameter

NETWORKS = list(TINY)
KERNELS = ("kernel", "filter", "transform")
"""The names of all weights that are kernels."""


# Files.


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_layers_in_h5_files(case, tmp_path):
    """The loader of `.h5` files turns names of Keras' functions, as "multiply", into these."""
    inputs = keras.Input(case.shape[1:])
    layer = case.make(**({"data_format": "channels_last"} if case.is_image else {}))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.h5")
    reloaded = keras.saving.load_model(tmp_path / "model.h5")
    assert reloaded.layers[-1].get_config() == layer.get_config()
    x = case.draw()
    expected, output = (keras.ops.convert_to_numpy(one(x)) for one in (model, reloaded))
    np.testing.assert_allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_in_h5_files(name, tmp_path):
    """They load without `custom_objects`; in a scope, a class of the user's comes first."""
    model = getattr(models, name)(**TINY[name], num_classes=3)
    model.save(tmp_path / "model.h5")
    reloaded = keras.saving.load_model(tmp_path / "model.h5")
    assert type(reloaded) is type(model)
    assert reloaded.get_config() == model.get_config()
    own = type(name, (type(model),), {})
    with keras.saving.custom_object_scope({name: own}):
        again = keras.saving.load_model(tmp_path / "model.h5")
    assert type(again) is own


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_attention_in_h5_files(name, tmp_path):
    """These files hold the graph, not the arguments of the network; they know layers alone."""
    model = insert_attention(getattr(models, name)(**TINY[name], num_classes=3), "simam", "head")
    assert all(isinstance(one, keras.layers.Layer) for one in model.operations)
    model.save(tmp_path / "model.h5")
    reloaded = keras.saving.load_model(tmp_path / "model.h5")
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    expected, output = (keras.ops.convert_to_numpy(one(x)) for one in (model, reloaded))
    np.testing.assert_allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_configurations_are_json(case):
    """JSON has no infinity and no NaN."""
    inputs = keras.Input(case.shape[1:])
    layer = case.make(**({"data_format": "channels_last"} if case.is_image else {}))
    text = keras.Model(inputs, layer(inputs)).to_json()

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    json.loads(text, parse_constant=refuse)
    assert keras.models.model_from_json(text).layers[-1].get_config() == layer.get_config()


def test_infinite_temperatures_survive():
    for temperatures in ((1, float("inf")), (1, "inf")):
        layer = attn_core.ResidualAttention(3, temperatures=temperatures)
        assert layer.temperatures == (1.0, float("inf"))
        assert type(layer).from_config(layer.get_config()).temperatures == layer.temperatures


# Inputs.


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.id)
def test_lists_as_inputs_are_named(case):
    x = case.draw()
    for given in ([x, x, x], [x], x.tolist(), {"x": x}):
        layer = case.make()
        with pytest.raises(ValueError, match=f"{case.layer}.*must be one tensor.*Received: a "):
            layer(given)
        assert not layer.built


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.id)
def test_unknown_arguments_of_calls_are_named(case):
    """Keras' own error does not name the layer."""
    layer = case.make(name="mine")
    for argument in ("masks", "causal"):
        message = f"{case.layer} 'mine': a call has no argument `{argument}`. It takes "
        with pytest.raises(TypeError, match=re.escape(message)):
            layer(case.draw(), **{argument: True})


def test_profile_says_what_it_takes():
    one, other = keras.Input((8, 8, 4), name="left"), keras.Input((8, 8, 4), name="right")
    model = keras.Model([one, other], CBAM(2)(one + other), name="pair")
    for shape in ((2, 8, 8, 4), [(2, 8, 8, 4)] * 2, {"left": (2, 8, 8, 4)}):
        with pytest.raises(ValueError, match=r"one input.*'pair', which takes 2: left, "):
            attn_core.profile(model, shape, modes=())
    with pytest.raises(ValueError, match="one tuple of positive integers"):
        attn_core.profile(CBAM(2), [(2, 8, 8, 4)], modes=())


@pytest.mark.every_backend
def test_profile_of_a_model_of_text():
    pytest.importorskip("tensorflow", reason="Keras hashes words with TensorFlow")
    words = keras.Input((9,), dtype="string")
    hashed = keras.layers.Hashing(4, output_mode="one_hot")(words)
    text = keras.Model(words, keras.layers.Dense(2)(hashed))
    assert attn_core.profile(text, (2, 9), modes=()).total_multiply_adds == 2 * 4 * 2
    with pytest.raises(ValueError, match="times of a model of text are not measured"):
        attn_core.profile(text, (2, 9), modes=("eager",))


def test_visualize_says_what_it_takes():
    one, other = keras.Input((8, 8, 4), name="left"), keras.Input((8, 8, 4), name="right")
    model = keras.Model({"left": one, "right": other}, CBAM(2, name="cbam")(one + other))
    image = np.ones((8, 8, 4), "float32")
    for given in (image, [image, image], {"left": image, "right": image}):
        with pytest.raises(ValueError, match=r"a model of one image.*`attention_maps` takes.*left"):
            attn_core.visualize(model, given)
    batch = {"left": image[None], "right": image[None]}
    assert list(attn_core.attention_maps(model, batch)) == ["cbam"]


# Warnings.


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_one_position_gives_no_warning(case):
    """Keras warns of a softmax over one entry; layers on one position have nothing to be told."""
    shape = (2, *[1] * (len(case.shape) - 2), case.shape[-1])
    layer = case.make(**({"data_format": "channels_last"} if case.is_image else {}))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*softmax over axis")
        one = case.other and case.record.one_position and case.config.get("strides") != 2
        layer(case.draw(shape if one else None))


@pytest.mark.parametrize("name", ["MobileViT", "MobileViTv2", "ResT"])
def test_small_images_give_no_warning(name):
    network = getattr(models, name)(**TINY[name], num_classes=3)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*softmax over axis")
        network(np.ones((1, 32, 32, 3), "float32"))


# Regularization.


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.id)
def test_kernels_are_regularized(case, tmp_path):
    """All kernels of a layer are, and nothing else; also after a reload, and in a clone."""
    layer = case.make(
        kernel_regularizer=keras.regularizers.L2(0.1),
        **({"data_format": "channels_last"} if case.is_image else {}),
    )
    inputs = keras.Input(case.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    kernels = [one for one in layer.trainable_weights if one.name in KERNELS]
    expected = sum(0.1 * np.square(keras.ops.convert_to_numpy(one)).sum() for one in kernels)
    assert len(model.losses) == len(kernels)
    np.testing.assert_allclose(float(sum(model.losses)), expected, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(float(sum(reloaded.losses)), expected, rtol=1e-5)
    assert reloaded.layers[-1].get_config() == layer.get_config()
    assert len(keras.models.clone_model(model).losses) == len(kernels)


def test_inserted_attention_is_regularized(tmp_path):
    """Its kernels are, through a file, and nothing of the model is."""
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(8, 3, name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    for attention, kernels in (("simam", 0), ("cbam", 3), ("cbam:kernel_regularizer='l2'", 3)):
        config = {} if ":" in attention else {"kernel_regularizer": "l2"}
        inserted = insert_attention(model, attention, "conv", **config)
        inserted.save(tmp_path / "model.h5")
        for one in (inserted, keras.saving.load_model(tmp_path / "model.h5")):
            assert len(one.losses) == kernels
    inserted.trainable = False
    assert not inserted.losses


def test_bad_regularizers():
    for bad in ("l3", 0.1, {"l2": 0.1}):
        with pytest.raises(ValueError, match=r"CBAM.*`kernel_regularizer` must be a .*Received: "):
            CBAM(2, kernel_regularizer=bad)


# Pictures.


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_pictures_of_many_bits(kind, ending, tmp_path):
    """A picture in grey of 16 bits or of real numbers looks like the one of 8 bits."""
    if ending == "png" and kind in ("int32", "float32"):
        pytest.skip("PNG has no such pixels")
    grey = np.linspace(0, 1, 64).reshape(8, 8)
    largest = {"uint8": 255, "uint16": 65535, "int32": 65535, "float32": 1}[kind]
    pixels = (np.round(grey * largest) if largest > 1 else grey).astype(kind)
    path = tmp_path / f"grey.{ending}"
    Image.fromarray(pixels).save(path)
    read = as_array(open_image(str(path)), 8, 8, 3, "unit")
    np.testing.assert_allclose(read, np.repeat(grey[..., None], 3, -1), atol=1 / 255)


def test_dark_pictures_are_noticed(tmp_path, capsys):
    """Pictures of 12 bits are often stored in files for 16 bits."""
    for kind, largest in (("uint16", 4095), ("int32", 255), ("uint16", 65535), ("uint8", 9)):
        Image.fromarray(np.array([[0, largest]], kind)).save(tmp_path / "grey.tiff")
        open_image(str(tmp_path / "grey.tiff"))
        dark = f"is dark: 65535 is white, and its largest number is {largest}."
        assert (dark in capsys.readouterr().err) == (largest in (4095, 255))


@pytest.mark.parametrize("value", [-0.5, 1.5, 200.0, float("nan")])
def test_pictures_of_unknown_scale_are_refused(value, tmp_path):
    pixels = np.full((4, 4), 0.5, "float32")
    pixels[0, 0] = value
    Image.fromarray(pixels).save(tmp_path / "grey.tiff")
    with pytest.raises(BadParameter, match="real numbers from 0 to 1"):
        open_image(str(tmp_path / "grey.tiff"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "1"])
def test_transparent_pictures_are_on_white(mode, tmp_path):
    """Black that is transparent, half and not at all; or where one colour is transparent."""
    alpha = np.array([[0, 128, 255]], "uint8")
    picture = Image.fromarray(np.zeros((1, 3, 4), "uint8"))
    picture.putalpha(Image.fromarray(alpha))
    options, expected = {}, 1 - alpha / 255
    if mode in ("L", "RGB", "1"):
        picture = Image.fromarray(np.array([[0, 0, 255]], "uint8"))
        options, expected = {"transparency": (0, 0, 0) if mode == "RGB" else 0}, np.ones((1, 3))
    picture = picture.convert(mode) if mode != "P" else picture.quantize(4)
    picture.save(tmp_path / "picture.png", **options)
    read = as_array(open_image(str(tmp_path / "picture.png")), 1, 3, 1, "unit")
    np.testing.assert_allclose(read[..., 0], expected, atol=1 / 255)


# PyTorch's compiler.


@pytest.mark.skipif(keras.config.backend() != "torch", reason="a warning of PyTorch's compiler")
@pytest.mark.parametrize("layer", [CBAM(2), attn_core.ScaledDotProductAttention(2)])
def test_no_warning_under_torch_compile(layer):
    import torch

    x = torch.ones((1, 4, 4, 8) if isinstance(layer, CBAM) else (1, 9, 8))
    layer(x)
    torch._dynamo.reset()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.compile(layer, backend="eager")(x)
    assert not [one for one in caught if "lru_cache" in str(one.message)]
