"""Bad input: a ValueError that names the layer, the argument or axis, and what was received."""

import inspect
from pathlib import Path
from types import UnionType
from typing import get_args

import attn_core
import bad_input
import keras
import numpy as np
import pytest
from attn_core import layers, models
from cases import FIRST
from gradients import layer_takes_training

every_layer = pytest.mark.parametrize("case", FIRST, ids=lambda case: case.layer)


def refuse(action, *words):
    """Run `action`; it must raise a ValueError that holds every word."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        action()
    for word in words:
        assert str(word) in str(caught.value), str(caught.value)


@every_layer
@pytest.mark.parametrize(
    ("name", "hint"),
    [("nam", "did you mean `name`?"), ("kernel_regulariser", "did you mean `kernel_regularizer`?")],
)
def test_unknown_arguments_of_layers(case, name, hint):
    """Keras' own error does not say which arguments there are."""
    refuse(lambda: case.make(**{name: 7}), case.layer, f"no argument `{name}`; {hint}", f"{name}=7")


def test_unknown_arguments_of_subclasses():
    class Mine(attn_core.SEAttention):
        def __init__(self, shift=0, **kwargs):
            super().__init__(**kwargs)

    refuse(lambda: Mine(shifd=1), "Mine: there is no argument `shifd`; did you mean `shift`?")
    refuse(lambda: Mine(reducton=1), "did you mean `reduction`?")
    refuse(lambda: Mine(q=1), "it takes shift, reduction, use_bias, data_format, ", "q=1")
    assert Mine(activity_regularizer="l2", reduction=2).reduction == 2


def arguments(kind, values):
    """List (case, argument, value) for the constructor arguments annotated `kind`, or a union."""
    found = []
    for case in FIRST:
        for name, parameter in inspect.signature(case.cls.__init__).parameters.items():
            union = isinstance(parameter.annotation, UnionType)
            if kind in (get_args(parameter.annotation) if union else [parameter.annotation]):
                found += [(case, name, bad) for bad in values if bad is not None or not union]
    return [pytest.param(*one, id=f"{one[0].layer}-{one[1]}-{one[2]}") for one in found]


@pytest.mark.parametrize(
    ("case", "name", "value"), arguments(int, [-1, 1.5, "3", True, float("nan"), [1], type])
)
def test_integer_arguments(case, name, value):
    refuse(lambda: case.cls(**{**case.config, name: value}), case.layer, name, repr(value))


@pytest.mark.parametrize(("case", "name", "value"), arguments(int, [0]))
def test_zero(case, name, value):
    """Zero is refused, or the layer computes with it where the record says that it may be."""
    parameter = inspect.signature(case.cls.__init__).parameters[name]
    if name not in case.record.zero and parameter.default != 0:
        refuse(lambda: case.cls(**{**case.config, name: value}), case.layer, name, repr(value))
        return
    layer = case.cls(**{**case.config, name: value})
    output = layer(case.draw(), **({"training": False} if layer_takes_training(layer) else {}))
    assert np.isfinite(keras.ops.convert_to_numpy(output)).all()


@pytest.mark.parametrize(("case", "name", "value"), arguments(bool, [1, "yes", None]))
def test_flags(case, name, value):
    refuse(lambda: case.cls(**{**case.config, name: value}), case.layer, name, repr(value))


@pytest.mark.parametrize(
    ("case", "name", "value"),
    arguments(float, [float("nan"), float("inf"), -float("inf"), "0.1", None, True, [0.1], 1j]),
)
def test_numbers(case, name, value):
    refuse(lambda: case.cls(**{**case.config, name: value}), case.layer, name, repr(value))


@pytest.mark.parametrize("value", [-0.1, 1.0], ids=str)
@pytest.mark.parametrize(
    "case", [c for c in FIRST if "dropout" in inspect.signature(c.cls.__init__).parameters],
    ids=lambda case: case.layer,
)  # fmt: skip
def test_dropout(case, value):
    refuse(lambda: case.cls(**{**case.config, "dropout": value}), case.layer, "dropout", value)


@every_layer
@pytest.mark.parametrize("shape", [(8,), (2, 8), (2, 9, 8), (2, 3, 4, 5, 8)], ids=len)
def test_wrong_rank(case, shape):
    ranks = {1 + len(one.shape) for one in case.record.cases}
    if len(shape) in ranks | {2 + axes for axes in case.cls.spatial_axes}:
        pytest.skip("the right rank")
    refuse(lambda: case.make()(np.zeros(shape, "float32")), case.layer, "rank", shape)


@every_layer
@pytest.mark.parametrize("shape", ["abcd", (2, 8.5, 8.5, 8), (2, -1, 4, 8)], ids=str)
def test_shapes_of_no_numbers(case, shape):
    layer = case.make()
    refuse(lambda: layer.build(shape[-len(case.shape) :]), case.layer, "whole numbers")
    assert not layer.weights


@every_layer
@pytest.mark.parametrize("kind", ["int32", "uint8", "bool", "complex64"])
def test_inputs_of_other_kinds(case, kind):
    """Backends compute what they like with whole numbers: some layers rounded their result."""
    refuse(lambda: case.make()(case.draw(dtype=kind)), case.layer, "floating-point", kind)


@every_layer
def test_inputs_that_are_none(case):
    refuse(lambda: case.make()(None), case.layer, "must be a tensor")
    refuse(lambda: case.make()("image.png"), "tensors")


@every_layer
def test_empty_inputs(case):
    for axis in range(1, len(case.shape) - 1):
        shape = (*case.shape[:axis], 0, *case.shape[axis + 1 :])
        empty = np.zeros(shape, "float32")
        refuse(lambda empty=empty: case.make()(empty), case.layer, "length 0", shape)


@every_layer
def test_nothing_is_built_by_what_is_refused(case):
    layer = case.make()
    for bad in (np.zeros((2, 8)), np.zeros((*case.shape[:-1], 0)), np.zeros(case.shape, "int32")):
        refuse(lambda bad=bad: layer(bad), case.layer)
        assert not layer.built
        assert not layer.weights
    assert layer(case.draw()).shape == layer.compute_output_shape(case.shape)


@every_layer
def test_another_input_after_build(case):
    layer = case.make()
    layer(case.draw())
    before = [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
    refuse(lambda: layer(np.zeros((2, 8), "float32")), layer.name)
    wider = (*case.shape[:-1], case.shape[-1] + 1)
    refuse(lambda: layer(np.zeros(wider, "float32")), layer.name)
    for one, weight in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(one, keras.ops.convert_to_numpy(weight))


@pytest.mark.parametrize("channels", [None, 0])
@every_layer
def test_unknown_channels(case, channels):
    shape = (*case.shape[:-1], channels)
    refuse(lambda: case.make().build(shape), case.layer, "channels", shape)


@pytest.mark.parametrize("value", ["channels_middle", "CHANNELS_LAST", 1, "", ["channels_last"]])
@pytest.mark.parametrize("case", [c for c in FIRST if c.is_image], ids=lambda case: case.layer)
def test_unknown_data_format(case, value):
    refuse(
        lambda: case.make(data_format=value),
        case.layer, "data_format", "'channels_last', 'channels_first'", repr(value),
    )  # fmt: skip


@every_layer
def test_unknown_argument(case):
    refuse(lambda: case.make(redution=4), "redution")


@pytest.mark.parametrize("shape", [(9,), (9, 8), (8, 9), (2, 9, 8), (3, 9, 9), (2, 3, 9, 9)])
@pytest.mark.parametrize(
    ("case", "name"),
    [pytest.param(c, name, id=f"{c.layer}-{name}") for c in FIRST
     for name in ("attention_mask", "attention_weights")
     if name in inspect.signature(c.cls.call).parameters],
)  # fmt: skip
def test_masks(case, name, shape):
    refuse(
        lambda: case.make()(case.draw(), **{name: np.ones(shape, "float32")}),
        case.layer, f"`{name}` must have the shape", shape,
    )  # fmt: skip


def network_arguments():
    """Yield (network, argument, value) for arguments that are numbers, flags or `data_format`."""
    bad = {int: [-1, 1.5, "3", True], float: [float("nan"), float("inf"), "0.1"], bool: [1, None]}
    for name in models.__all__:
        for argument, parameter in inspect.signature(getattr(models, name)).parameters.items():
            values = bad.get(type(parameter.default), ())
            if argument in ("expansion", "mlp_ratio"):
                values = bad[float]
            if argument == "data_format":
                values = ["channels_middle", 1]
            yield from ((name, argument, value) for value in values)


@pytest.mark.parametrize(("name", "argument", "value"), list(network_arguments()))
def test_networks(name, argument, value):
    required = {"filters": 8} if name == "CoTBottleneck" else {}
    network = getattr(models, name)
    refuse(lambda: network(**{**required, argument: value}), name, argument, repr(value))


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem", data_format="channels_last")(inputs)
    return keras.Model(inputs, layers.SEAttention(2, data_format="channels_last")(x))


PIXELS = np.zeros((8, 8, 3), "float32")
NO_MODELS = [None, 3, "model.keras", layers.SEAttention, keras.Model]
TOOLS = {
    attn_core.attention_maps: {"model": NO_MODELS},
    attn_core.insert_attention: {
        "model": NO_MODELS,
        "attention": [None, 3, "SEAtention", (), object()],
        "where": [None, 3, "stern", (), [1]],
    },
    attn_core.profile: {
        "layer_or_model": NO_MODELS,
        "input_shape": [None, 3, "1x8x8x3", (8, 0, 8, 3), (-1, 8, 8, 3), (None, 8, 8, 3), (1.5, 3)],
        "modes": [None, 3, "eager", ("fast",)],
        "seconds": [None, -1, "1", float("nan"), float("inf"), (1,)],
    },
    attn_core.visualize: {
        "model": NO_MODELS,
        "image": [None, "image.png", object(), PIXELS[0], np.zeros((2, 8, 8, 3)), PIXELS[:0]],
        "layer": ["stern", 3],
        "query": [(8, 0), (-1, 0), (0.5, 0), ("0", "0"), (1, 2, 3), "0,0"],
        "data_format": ["channels_middle", 1],
    },
}
RIGHT = {
    attn_core.attention_maps: {"inputs": PIXELS[None]},
    attn_core.insert_attention: {"attention": "SEAttention", "where": "stem"},
    attn_core.profile: {"input_shape": (1, 8, 8, 3), "modes": ()},
    attn_core.visualize: {"image": PIXELS},
}


@pytest.mark.parametrize(
    ("tool", "argument", "value"),
    [(tool, name, bad) for tool in TOOLS for name, values in TOOLS[tool].items() for bad in values],
)
def test_tools(tool, argument, value, model):
    before = model.get_config(), [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    first = next(iter(inspect.signature(tool).parameters))
    refuse(lambda: tool(**{first: model, **RIGHT[tool], argument: value}))
    assert model.get_config() == before[0]
    for one, weight in zip(before[1], model.weights, strict=True):
        np.testing.assert_array_equal(one, keras.ops.convert_to_numpy(weight))


def test_the_table_counts_tests_that_are_there():
    for start in (start for starts in bad_input.KINDS.values() for start in starts):
        file, _, name = start.partition("::")
        assert f"\ndef {name}" in (Path(__file__).parent / file).read_text(), start
    counts = bad_input.count(["tests/test_errors.py::test_flags[a/b::c]", "tests/test_x.py::test"])
    assert {kind: n for kind, n in counts.items() if n} == {
        "Flags that are neither True nor False": 1
    }


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
    (lambda: L.AgentAttention(agent_num=8), "AgentAttention", "agent_num=8", "square"),
    (image(L.AgentAttention, 8, 8, 4), "AgentAttention", "height and width must be equal"),
    (image(lambda: L.AgentAttention(sr_ratio=3), 8), "AgentAttention", "sr_ratio=3", "8"),
    (image(lambda: L.AgentAttention(3), 8), "AgentAttention", "num_heads=3", "8"),
    (image(L.AgentAttention, 8, None), "AgentAttention", "height and width"),
    (lambda: L.DifferentialAttention(3).build((2, 5, 9)), "2 * num_heads=6", "9"),
    (lambda: L.FocusedLinearAttention(focusing_factor=0), "focusing_factor", "> 0", "0"),
    (lambda: L.FocusedLinearAttention(kernel_size=4), "kernel_size=4", "odd"),
    (image(lambda: L.FocusedLinearAttention(sr_ratio=3), 8, 9), "width", "sr_ratio=3", "8"),
    (image(lambda: L.FocusedLinearAttention(3), 8), "num_heads=3", "8"),
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
    (image(lambda: L.NonLocalAttention(pool_size=5), 8, 4), "pool_size=5", "(4, 8)"),
    (lambda: L.StripAttention(4), "StripAttention", "kernel_size=4", "odd"),
    (lambda: L.EfficientLocalAttention(4), "EfficientLocalAttention", "kernel_size=4", "odd"),
    (image(L.BilinearAttention, 8, 12), "BilinearAttention", "block_size=7", "12"),
    (lambda: L.BilinearAttention(block_size=4)(np.zeros((1, 8, 6, 8))), "block_size=4", "6"),
    (image(lambda: L.BilinearAttention(groups=3), 8, 7, 7), "BilinearAttention", "groups=3", "4"),
    (lambda: L.NonLocalAttention(pool_size=3)(np.zeros((1, 2, 9, 8))), "pool_size=3", "(2, 9)"),
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


def test_values_are_checked_before_the_build():
    layer = L.SEAttention()
    with pytest.raises(ValueError, match=r"floating-point.*int32"):
        layer(np.ones((1, 4, 4, 16), "int32"))
    assert not layer.built
