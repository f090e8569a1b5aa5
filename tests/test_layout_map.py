"""`layout_map`: which weights it splits, and what it refuses. How well: tests/distribution."""

from collections import defaultdict

import keras
import pytest
from attn_core import MBConv, RelativeSelfAttention, models
from attn_core.distribution import layout_map
from cases import CASES, FIRST
from keras.distribution import DeviceMesh
from networks import TINY

MESH = DeviceMesh((1, 2), ("batch", "model"), ["cpu:0", "cpu:1"])


def built(layer, shape=(None, 4, 4, 8)):
    layer.build(shape)
    return layer


def split(layouts):
    """Return the split axis of each weight, or None, by the last two parts of its path."""
    found = {}
    for path in layouts:
        axes = layouts[path].axes
        found["/".join(path.split("/")[-2:])] = axes.index("model") if "model" in axes else None
    return found


def test_first_by_outputs_second_by_inputs():
    found = split(layout_map(built(RelativeSelfAttention(2, key_dim=4)), MESH, min_size=1))
    assert found["project/kernel"] == 0
    assert found["project/bias"] is None  # it is added once, after the sum
    queries = [name for name in found if name.endswith("kernel") and not name.startswith("project")]
    assert queries
    assert all(found[name] == 1 for name in queries)


def test_what_does_not_divide_or_is_small_stays_whole():
    three_heads = built(RelativeSelfAttention(3, key_dim=4))
    assert set(split(layout_map(three_heads, MESH, min_size=1)).values()) == {None}
    block = built(MBConv(8))
    assert set(split(layout_map(block, MESH)).values()) == {None}
    three = DeviceMesh((1, 3), ("batch", "model"), ["cpu:0", "cpu:1", "cpu:2"])
    assert set(split(layout_map(block, three, min_size=1)).values()) == {None}
    assert set(split(layout_map(block, MESH, min_size=1)).values()) > {None}


def test_every_weight_has_an_entry():
    block = built(MBConv(8))
    assert sorted(layout_map(block, MESH)) == sorted(weight.path for weight in block.weights)


SPLIT = {
    "ResidualAttention": (0, 0),
    "ExternalAttention": (1, 1),
    "ScaledDotProductAttention": (1, 6),
    "SimplifiedScaledDotProductAttention": (1, 0),
    "SEAttention": (1, 1),
    "SKAttention": (1, 3),
    "CBAM": (1, 2),
    "BAM": (1, 24),
    "ECAAttention": (0, 0),
    "DualAttention": (0, 6),
    "PositionAttention": (0, 6),
    "ChannelSelfAttention": (0, 0),
    "PyramidSqueezeAttention": (1, 6),
    "EfficientMultiHeadSelfAttention": (1, 2),
    "ShuffleAttention": (0, 0),
    "MUSEAttention": (1, 8),
    "SpatialGroupEnhance": (0, 0),
    "DoubleAttention": (1, 6),
    "AFTFull": (0, 6),
    "AFTLocal": (0, 6),
    "AFTSimple": (0, 6),
    "AFTConv": (0, 6),
    "OutlookAttention": (1, 3),
    "WeightedPermuteMLP": (2, 5),
    "RelativeSelfAttention": (1, 2),
    "MBConv": (2, 12),
    "HaloAttention": (0, 2),
    "ParallelPolarizedSelfAttention": (0, 4),
    "SequentialPolarizedSelfAttention": (1, 5),
    "CoTAttention": (1, 25),
    "S2Attention": (2, 3),
    "GlobalFilter": (0, 0),
    "TripletAttention": (0, 0),
    "CoordinateAttention": (0, 6),
    "MobileViTBlock": (3, 15),
    "ParNetAttention": (0, 11),
    "UFOAttention": (1, 6),
    "SeparableSelfAttention": (1, 4),
    "MobileViTv2Block": (3, 12),
    "AttentionResNet": (5, 95),
    "CoAtNet": (8, 36),
    "CoTNet": (5, 169),
    "GFNet": (2, 8),
    "GFNetPyramid": (4, 18),
    "HaloNet": (0, 86),
    "MobileViT": (16, 122),
    "MobileViTv2": (15, 98),
    "NAT": (9, 29),
    "ParNet": (0, 123),
    "ResNeSt": (5, 107),
    "ResT": (9, 42),
    "Swin": (12, 31),
    "VAN": (10, 80),
    "VOLO": (8, 25),
    "VisionPermutator": (6, 20),
}
"""Weights that two devices share, of each layer and network: by inputs, by outputs."""


@pytest.fixture(scope="module")
def built_layers():
    """Every case of every layer, and the networks, by name."""
    found = {case.id: built(case.make(name="layer"), case.shape) for case in CASES}
    networks = {
        name: getattr(models, name)(**config, num_classes=10) for name, config in TINY.items()
    }
    return found | networks


def test_how_many_are_split(built_layers):
    names = {case.layer: case.id for case in FIRST} | {name: name for name in TINY}
    for name, counts in SPLIT.items():
        layouts = layout_map(built_layers[names[name]], MESH, min_size=1)
        axes = [layouts[path].axes for path in layouts]
        split = [one.index("model") - len(one) for one in axes if "model" in one]
        assert (split.count(-2), split.count(-1)) == counts, name


def test_what_is_declared_exists(built_layers):
    """A misspelt name would declare nothing."""
    children = defaultdict(set)
    for model in built_layers.values():
        for layer in model._flatten_layers():
            inner = layer._flatten_layers(include_self=False, recursive=False)
            for kind in type(layer).__mro__:
                children[kind] |= {child.name for child in inner}
    named = {
        kind: {*vars(kind).get("split", ()), *follows, *follows.values()}
        for kind in children
        if (follows := vars(kind).get("follows", {})) or "split" in vars(kind)
    }
    assert len(named) > 30
    for kind, names in named.items():
        assert names <= children[kind], kind


class Twins(keras.layers.Layer):
    """Two children of one name."""

    def build(self, input_shape):
        self.one, self.two = (keras.layers.Dense(3, name="dense") for _ in range(2))
        self.one.build(input_shape)
        self.two.build(input_shape)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((built(MBConv(8)), "cpu:0"), {}, ("mesh", "DeviceMesh", "cpu:0")),
        ((built(MBConv(8)), MESH), {"axis": "modell"}, ("axis", "batch, model", "modell")),
        ((built(MBConv(8)), MESH), {"min_size": 0}, ("min_size", "0")),
        ((built(MBConv(8)), MESH), {"min_size": 1.5}, ("min_size", "1.5")),
        ((built(MBConv(8)), MESH), {"min_size": True}, ("min_size", "True")),
        ((MBConv(8, name="block"), MESH), {}, ("MBConv", "block", "not built")),
    ],
    ids=["mesh", "axis", "zero", "float", "bool", "unbuilt"],
)
def test_bad_input(arguments, options, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        layout_map(*arguments, **options)
    for word in words:
        assert word in str(caught.value)


def test_two_weights_of_one_path():
    with pytest.raises(ValueError, match=r"two weights of one path.*dense/kernel"):
        layout_map(built(Twins(), (None, 3)), MESH)
