"""Bad input: a ValueError that names the layer, the argument or axis, and what was received."""

import inspect

import keras
import numpy as np
import pytest
from attn_core import layers
from cases import CASES

FIRST = list({case.layer: case for case in reversed(CASES)}.values())
MINIMUM_ZERO = {"halo_size", "channel_layers", "spatial_layers"}
"""Integer arguments that may be zero."""
REAL = {("ECAAttention", "gamma"), ("ECAAttention", "b"), ("MBConv", "expansion")}
"""Arguments with an integer default that may be any number; `PARTICULAR` tests them."""


def refuse(action, *words):
    """Run `action`; it must raise a ValueError that holds every word."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        action()
    for word in words:
        assert str(word) in str(caught.value), str(caught.value)


def arguments(kind):
    """List (case, argument) for every constructor argument whose value is of `kind`."""
    found = []
    for case in FIRST:
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(case.cls.__init__).parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }
        for name, value in {**defaults, **case.config}.items():
            if type(value) is kind:
                found.append(pytest.param(case, name, id=f"{case.layer}-{name}"))
    return found


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None.__class__], ids=str)
@pytest.mark.parametrize(("case", "name"), arguments(int))
def test_integer_arguments(case, name, value):
    if (case.layer, name) in REAL or (name in MINIMUM_ZERO and type(value) is int and value == 0):
        return
    refuse(lambda: case.cls(**{**case.config, name: value}), case.layer, name, repr(value))


@pytest.mark.parametrize("value", [1, 0, "yes", None], ids=str)
@pytest.mark.parametrize(("case", "name"), arguments(bool))
def test_flags(case, name, value):
    refuse(lambda: case.cls(**{**case.config, name: value}), case.layer, name, repr(value))


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), "0.1", None], ids=str)
@pytest.mark.parametrize(
    "case", [c for c in FIRST if "dropout" in inspect.signature(c.cls.__init__).parameters],
    ids=lambda case: case.layer,
)  # fmt: skip
def test_dropout(case, value):
    refuse(lambda: case.cls(**{**case.config, "dropout": value}), case.layer, "dropout", value)


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.layer)
def test_wrong_rank(case):
    for shape in ((2, 8), (2, 3, 4, 5, 8)):
        refuse(lambda shape=shape: case.make()(np.zeros(shape, "float32")), case.layer, "rank")
    if case.is_image and case.layer != "EfficientMultiHeadSelfAttention":
        refuse(
            lambda: case.make()(np.zeros((2, 9, 8), "float32")), case.layer, "rank 4", "(2, 9, 8)"
        )


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.layer)
def test_another_input_after_build(case):
    layer = case.make()
    layer(case.draw())
    refuse(lambda: layer(np.zeros((2, 8), "float32")), layer.name)
    wider = (*case.shape[:-1], case.shape[-1] + 1)
    refuse(lambda: layer(np.zeros(wider, "float32")), layer.name)


@pytest.mark.parametrize("channels", [None, 0])
@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.layer)
def test_unknown_channels(case, channels):
    shape = (*case.shape[:-1], channels)
    refuse(lambda: case.make().build(shape), case.layer, "channels", shape)


@pytest.mark.parametrize("case", [c for c in FIRST if c.is_image], ids=lambda case: case.layer)
def test_unknown_data_format(case):
    for value in ("channels_middle", 1, ""):
        refuse(
            lambda value=value: case.make(data_format=value),
            case.layer, "data_format", "'channels_last', 'channels_first'", repr(value),
        )  # fmt: skip


def image(layer, channels, height=8, width=8):
    return lambda: layer().build((2, height, width, channels))


L = layers
PARTICULAR = [
    (lambda: L.ResidualAttention(3, lam="x"), "ResidualAttention", "lam"),
    (lambda: L.ResidualAttention(3, temperatures=()), "ResidualAttention", "temperatures"),
    (lambda: L.ResidualAttention(3, temperatures=(-1.0,)), "ResidualAttention", "temperatures"),
    (lambda: L.ResidualAttention(3, temperatures=(float("nan"),)), "temperatures", "nan"),
    (lambda: L.SKAttention((3, 4)), "SKAttention", "kernel_sizes", "4"),
    (lambda: L.SKAttention((1, 3)), "SKAttention", "kernel_sizes", "1"),
    (lambda: L.SKAttention(()), "SKAttention", "kernel_sizes"),
    (image(lambda: L.SKAttention(groups=3), 8), "SKAttention", "groups=3", "8"),
    (lambda: L.CBAM(kernel_size=4), "CBAM", "kernel_size=4", "odd"),
    (lambda: L.CBAM(pool_types=("avg", "median")), "CBAM", "pool_types", "'median'", "'lse'"),
    (lambda: L.CBAM(pool_types="avg"), "CBAM", "pool_types", "'avg'"),
    (lambda: L.BAM(combine="mean"), "BAM", "combine", "'mean'", "'multiply', 'add'"),
    (lambda: L.ECAAttention(4), "ECAAttention", "kernel_size=4", "odd"),
    (lambda: L.ECAAttention(gamma=0), "ECAAttention", "gamma"),
    (lambda: L.ECAAttention(b="x"), "ECAAttention", "b='x'"),
    (lambda: L.PyramidSqueezeAttention(kernel_sizes=(3, 5)), "kernel_sizes", "4"),
    (lambda: L.PyramidSqueezeAttention(kernel_sizes=(3, 5, 7, 8)), "kernel_sizes", "8"),
    (lambda: L.PyramidSqueezeAttention(groups=(1, 2)), "PyramidSqueezeAttention", "groups"),
    (image(L.PyramidSqueezeAttention, 10), "PyramidSqueezeAttention", "10"),
    (image(L.PyramidSqueezeAttention, 36), "PyramidSqueezeAttention", "groups[1]=4", "9"),
    (lambda: L.EfficientMultiHeadSelfAttention(3).build((2, 16, 8)), "num_heads=3", "8"),
    (lambda: L.EfficientMultiHeadSelfAttention(2)(np.zeros((2, 7, 8))), "spatial_shape", "7"),
    (
        lambda: L.EfficientMultiHeadSelfAttention(2)(np.zeros((2, 8, 8)), spatial_shape=(3, 3)),
        "EfficientMultiHeadSelfAttention", "spatial_shape", "3 x 3", "8",
    ),
    (image(L.ShuffleAttention, 100), "ShuffleAttention", "100"),
    (image(lambda: L.ShuffleAttention(4), 12), "ShuffleAttention", "12"),
    (lambda: L.MUSEAttention(2, kernel_sizes=(3, 4)), "MUSEAttention", "kernel_sizes", "4"),
    (lambda: L.MUSEAttention(3).build((2, 5, 8)), "MUSEAttention", "num_heads=3", "8"),
    (image(lambda: L.SpatialGroupEnhance(3), 8), "SpatialGroupEnhance", "groups=3", "8"),
    (image(L.DoubleAttention, 6), "DoubleAttention", "6"),
    (lambda: L.AFTFull(4)(np.zeros((1, 5, 8))), "AFTFull", "max_length", "5"),
    (lambda: L.AFTLocal(4, 0), "AFTLocal", "window_size=0"),
    (lambda: L.AFTConv(2, 4), "AFTConv", "kernel_size=4", "odd"),
    (image(lambda: L.AFTConv(3, 3), 8), "AFTConv", "num_heads=3", "8"),
    (lambda: L.OutlookAttention(kernel_size=2), "OutlookAttention", "kernel_size=2"),
    (image(lambda: L.OutlookAttention(3), 8), "OutlookAttention", "num_heads=3", "8"),
    (image(L.WeightedPermuteMLP, 12), "WeightedPermuteMLP", "segment_dim=8", "12"),
    (image(L.WeightedPermuteMLP, 8, None), "WeightedPermuteMLP", "height and width"),
    (image(L.RelativeSelfAttention, 8, None), "RelativeSelfAttention", "height and width"),
    (lambda: L.MBConv(8, strides=3), "MBConv", "strides", "3"),
    (image(lambda: L.MBConv(8), 4), "MBConv", "filters", "4"),
    (image(lambda: L.MBConv(8, strides=2), 4, 7), "MBConv", "7"),
    (lambda: L.MBConv(8, kernel_size=4), "MBConv", "kernel_size=4"),
    (image(L.HaloAttention, 8, 12), "HaloAttention", "block_size=8", "12"),
    (image(lambda: L.HaloAttention(num_heads=3), 8), "HaloAttention", "num_heads=3", "8"),
    (image(L.CoTAttention, 6), "CoTAttention", "6"),
    (lambda: L.CoTAttention(4), "CoTAttention", "kernel_size=4", "odd"),
    (image(L.S2Attention, 6), "S2Attention", "4", "6"),
    (lambda: L.GlobalFilter((4, 4)).build((2, 4, 6, 8)), "GlobalFilter", "(4, 4)", "6"),
    (lambda: L.GlobalFilter((4, 0)), "GlobalFilter", "spatial_shape"),
    (image(L.GlobalFilter, 8, None), "GlobalFilter", "height and width"),
    (lambda: L.TripletAttention(4), "TripletAttention", "kernel_size=4", "odd"),
    (image(lambda: L.MobileViTBlock(30), 8), "MobileViTBlock", "30"),
    (lambda: L.MobileViTBlock(16, patch_size=0), "MobileViTBlock", "patch_size"),
    (lambda: L.MobileViTBlock(16, kernel_size=2), "MobileViTBlock", "kernel_size"),
    (lambda: L.MobileViTv2Block(16, patch_size=(2, 2, 2)), "MobileViTv2Block", "patch_size"),
    (lambda: L.ParNetAttention(activation="soft"), "ParNetAttention", "activation", "'soft'"),
    (lambda: L.UFOAttention(2, norm_axis="both"), "UFOAttention", "norm_axis", "'both'"),
    (lambda: L.UFOAttention(3).build((2, 5, 8)), "UFOAttention", "num_heads=3", "8"),
    (lambda: L.ScaledDotProductAttention(3).build((2, 5, 8)), "num_heads=3", "8"),
    (lambda: L.SimplifiedScaledDotProductAttention(3).build((2, 5, 8)), "num_heads=3", "8"),
    (
        lambda: L.ScaledDotProductAttention(2)(
            np.zeros((2, 5, 8)), attention_mask=np.ones((5, 4), "bool")
        ),
        "ScaledDotProductAttention", "attention_mask", "(5, 4)",
    ),
    (
        lambda: L.ScaledDotProductAttention(2)(
            np.zeros((2, 5, 8)), attention_weights=np.ones((2, 3, 5, 5))
        ),
        "ScaledDotProductAttention", "attention_weights", "(2, 3, 5, 5)",
    ),
    (
        lambda: L.ScaledDotProductAttention(2)(np.zeros((2, 5, 8)), np.zeros((2, 4, 8)),
                                               np.zeros((2, 3, 8))),
        "ScaledDotProductAttention", "value", "3",
    ),
    (
        lambda: L.MUSEAttention(2)(np.zeros((2, 5, 8)), np.zeros((2, 4, 8))),
        "MUSEAttention", "4",
    ),
    (lambda: L.ExternalAttention(num_heads=3).build((2, 5, 8)), "num_heads=3", "8"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(PARTICULAR)))
def test_particular(number):
    action, *words = PARTICULAR[number]
    refuse(action, *words)


def test_reduction_never_takes_a_width_below_one():
    layer = layers.SEAttention(reduction=100)
    layer.build((2, 4, 4, 8))
    assert layer.squeeze.units == 1


def test_nothing_is_built_after_an_error():
    layer = layers.ShuffleAttention(4)
    refuse(lambda: layer.build((2, 4, 4, 12)), "ShuffleAttention")
    assert not layer.weights
    assert layer(np.zeros((2, 4, 4, 16), "float32")).shape == (2, 4, 4, 16)


def test_global_data_format_is_respected():
    try:
        keras.config.set_image_data_format("channels_first")
        assert layers.SEAttention().data_format == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
