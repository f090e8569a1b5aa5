"""Checkpoints of timm: whose names they have, what they expect of images, what is refused.

The vectors `tests/golden/*__timm.npz` hold timm's own names and numbers.
"""

import copy

import keras
import numpy as np
import pytest
from attn_core import layers, load_torch_weights, models
from attn_core._weights.entries import entries, namings
from attn_core.models import Preprocess
from networks import TINY
from test_layers import numpy

SCHEMES = {
    "authors": (layers.SEAttention(2), ("fc.0.weight", "fc.2.weight")),
    "timm": (layers.SEAttention(2), ("fc1.weight", "fc2.weight")),
    "authors' networks": (
        layers.CoordinateAttention(2, use_bias=False),
        ("conv1.weight", "bn1.weight", "conv2.weight", "conv3.weight"),
    ),
    "collection": (
        layers.ScaledDotProductAttention(2, use_bias=False),
        ("fc_q.weight", "fc_o.weight"),
    ),
    "PyTorch": (
        layers.ScaledDotProductAttention(2, use_bias=False),
        ("in_proj_weight", "out_proj.weight"),
    ),
}


def ones(naming):
    return {name: np.ones(entry.shape) for name, entry in naming.items()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_loader_says_whose_names_it_took(scheme):
    layer, some = SCHEMES[scheme]
    layer.build((None, 4, 5, 8) if hasattr(layer, "reduction") else (None, 4, 8))
    naming = namings(layer)[scheme]
    assert set(some) <= set(naming)
    assert load_torch_weights(layer, ones(naming)).scheme == scheme


@pytest.mark.parametrize("name", ["MobileViT", "MobileViTv2"])
def test_both_schemes_name_every_weight(name):
    """Each weight once by the authors' names and once by timm's, of the same shape."""
    model = getattr(models, name)(**TINY[name], num_classes=3)
    authors, timm = (
        {tuple(map(id, entry.variables)): entry.shape for entry in naming.values()}
        for naming in namings(model).values()
    )
    assert authors == timm
    assert {one for ids in authors for one in ids} == {id(weight) for weight in model.weights}
    for scheme, naming in namings(model).items():
        assert load_torch_weights(model, ones(naming)).scheme == scheme


def test_a_classifier_of_timm_may_stay():
    state = ones(namings(models.MobileViT(**TINY["MobileViT"], num_classes=3))["timm"])
    model = models.MobileViT(**TINY["MobileViT"], num_classes=5)
    before = numpy(model.get_layer("head").kernel)
    found = load_torch_weights(model, state, skip_mismatch=True)
    assert (len(found.left), found.scheme) == (2, "timm")
    np.testing.assert_array_equal(numpy(model.get_layer("head").kernel), before)
    assert set(load_torch_weights(model, state, head=False).left) == set(found.left)


def refused(model, state):
    before = [numpy(weight) for weight in model.weights]
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        load_torch_weights(model, state)
    for one, other in zip(before, map(numpy, model.weights), strict=True):
        np.testing.assert_array_equal(one, other)
    return str(caught.value)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (".se.", ".se_early.", "timm's coatnet_*_rw_224, which"),
        ("relative_position_bias_table", "mlp.fc1.weight", "timm's coatnet_rmlp_*"),
        ("blocks", "units", "another network or another variant"),
    ],
)
def test_another_network_says_so_in_a_sentence(ours, theirs, words):
    model = models.CoAtNet(**{**TINY["CoAtNet"], "depths": 4}, num_classes=3)
    state = {name.replace(ours, theirs): one for name, one in ones(entries(model)).items()}
    state |= {f"extra.{number}": np.ones(3) for number in range(20)}
    message = refused(model, state)
    changed = sum(ours in name for name in entries(model))
    assert f"It is a checkpoint of {words}" in message
    assert f"{len(entries(model)) - changed} fit, {changed} are missing" in message
    assert f"{changed + 20} are unexpected" in message
    assert "\n" not in message


@pytest.mark.parametrize("bias", [True, False])
def test_biases_are_hinted_at(bias):
    layer, other = (layers.CBAM(2, use_bias=one) for one in (bias, not bias))
    for one in (layer, other):
        one.build((None, None, None, 8))
    message = refused(layer, ones(namings(other)["timm"]))
    assert f"Only biases do not fit: build the layer with `use_bias={not bias}`" in message


def test_halo_refuses_strides_that_do_not_divide_its_blocks():
    with pytest.raises(ValueError, match="`block_size` must be divisible by strides=2"):
        layers.HaloAttention(3, strides=2)


# What checkpoints expect of images


PREPROCESS = Preprocess(
    (24, 16), 0.8, "bilinear", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), channels="BGR"
)


def test_variants_know_what_timm_expects():
    model = models.MobileViTv2.from_variant("mobilevitv2_050")
    expected = Preprocess(256, 0.888, "bicubic", mean=(0.0,) * 3, std=(1.0,) * 3)
    assert model.preprocess == expected
    assert models.MobileViTv2.from_variant("mobilevitv2_050", in_channels=1).preprocess is None
    known = {}
    for name, network in vars(models).items():
        if name in TINY:
            assert set(network.PREPROCESS) <= set(network.VARIANTS)
            known |= network.PREPROCESS
    assert known["swin_b"] == Preprocess(224, 0.9)
    assert known["van_b2"] == Preprocess(224, 0.9, mean=(0.5,) * 3, std=(0.5,) * 3)
    for name in ("nat_tiny", "gfnet_h_b", "cotnet_101", "rest_large", "parnet_xl"):
        assert known[name] == Preprocess(224)
    assert (known["vip_m7"].crop, known["vip_l7"].crop) == (0.9, 0.875)
    assert known["coatnet_1_rw_224"] == Preprocess(224, 0.95, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert known["coatnet_bn_0_rw_224"] == Preprocess(224, 0.95)
    assert known["eca_resnet_101"] == Preprocess(224, interpolation="bilinear")
    assert not known.keys() & {"resnet_50", "gc_resnet_50", "halonet_h1", "coatnet_0"}


def test_the_size_of_the_network_is_that_of_its_images():
    model = models.VOLO(**TINY["VOLO"])
    assert model.preprocess is None
    model.preprocess = Preprocess(64, 0.96)
    assert model.resized(96).preprocess == Preprocess(96, 0.96)
    assert model._for_its_size(Preprocess(224, 0.96)) == Preprocess(64, 0.96)


def test_preprocessing_is_kept(tmp_path):
    model = models.MobileViT(**TINY["MobileViT"], num_classes=3)
    model.preprocess = PREPROCESS
    model.save(tmp_path / "model.keras")
    for twin in (copy.deepcopy(model), keras.saving.load_model(tmp_path / "model.keras")):
        assert twin.preprocess == PREPROCESS


@pytest.mark.every_backend
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("shape", "resized"),
    [((60, 40), (30, 20)), ((30, 50), (30, 50)), ((24, 16), (30, 20)), ((20, 13), (30, 20))],
)
def test_preprocessing_is_pillows(shape, resized, interpolation):
    """Resized as Pillow does, which rounds to whole numbers, and cropped as torchvision does."""
    image_module = pytest.importorskip("PIL.Image")
    rows = np.linspace(0, 255, shape[0])[:, None, None]
    columns = np.linspace(0, 3, shape[1])[None, :, None]
    picture = (0.5 * rows + 60 * (1 + np.sin(columns + np.arange(3)))).astype("uint8")
    preprocess = Preprocess((24, 16), 0.8, interpolation, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    found = numpy(preprocess(picture))
    assert found.shape == (1, 24, 16, 3)

    kind = getattr(image_module.Resampling, interpolation.upper())
    pixels = np.asarray(image_module.fromarray(picture).resize(resized[::-1], kind))
    top, left = (round((side - n) / 2) for side, n in zip(resized, (24, 16), strict=True))
    expected = pixels[top : top + 24, left : left + 16] / 255
    expected = (expected - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    np.testing.assert_allclose(found[0], expected, atol=1.5 / 255 / 0.5)


def test_preprocessing_of_several_and_of_bgr():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 30, 20, 3)).astype("uint8")
    found = numpy(PREPROCESS(pictures))
    rgb = Preprocess(**{**vars(PREPROCESS), "channels": "RGB"})
    np.testing.assert_array_equal(found, numpy(rgb(pictures))[..., ::-1])
    one = numpy(PREPROCESS(pictures[1]))
    np.testing.assert_allclose(found[1:], one, atol=1e-6)


def test_preprocessing_may_be_a_part_of_a_model(tmp_path):
    """For a program that has nothing but the file."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 30, 20, 3)).astype("uint8")
    inputs = keras.Input(pictures.shape[1:], dtype="uint8")
    model = keras.Model(inputs, PREPROCESS(inputs))
    model.save(tmp_path / "model.keras")
    for one in (model, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(numpy(one(pictures)), numpy(PREPROCESS(pictures)), atol=1e-6)


def test_preprocessing_needs_a_size():
    with pytest.raises(
        ValueError, match=r"Preprocess: the height and width.*\(None, None, None, 3\)"
    ):
        Preprocess((224, 224), 0.9)(keras.Input((None, None, 3)))


def test_a_crop_above_one_adds_black():
    found = numpy(Preprocess(12, 1.5, mean=(0.0,) * 3)(np.full((8, 8, 3), 255.0)))
    inside = np.zeros((12, 12), bool)
    inside[2:10, 2:10] = True
    np.testing.assert_array_equal(found[0, :, :, 0] > 0, inside)


def test_timms_description():
    config = {
        "input_size": [3, 288, 256],
        "crop_pct": 0.95,
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    }
    expected = Preprocess((288, 256), 0.95, "bicubic", (0.5,) * 3, (0.25,) * 3)
    assert Preprocess.from_timm(config) == expected
    with pytest.raises(ValueError, match="crop_mode"):
        Preprocess.from_timm({**config, "crop_mode": "squash"})
    with pytest.raises(ValueError, match="crop_pct"):
        Preprocess.from_timm({"input_size": [3, 224, 224]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 0),
        ("crop", -0.5),
        ("interpolation", "lanczos"),
        ("mean", (0.5, 0.5)),
        ("std", (0.5, 0.5, 0.0)),
        ("channels", "GBR"),
    ],
)
def test_preprocessing_refuses(name, value):
    with pytest.raises(ValueError, match=rf"Preprocess: .*`{name}"):
        Preprocess(**{"size": 224, name: value})
    with pytest.raises(ValueError, match="`images` must have the shape"):
        PREPROCESS(np.zeros((8, 8)))
