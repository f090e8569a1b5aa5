"""`create_attention`: layers by name, with arguments in one string."""

from functools import partial

import keras
import pytest
from attn_core import SEAttention, catalog, create_attention, layers
from attn_core.catalog import LAYERS, Size

SIZE = Size(8, 8, 64)

TIMM = {
    "se": "SEAttention",
    "ese": "EffectiveSEAttention",
    "eca": "ECAAttention",
    "ge": "GatherExciteAttention",
    "gc": "GlobalContextAttention",
    "gca": "GlobalContextAttention",
    "cbam": "CBAM",
    "coord": "CoordinateAttention",
    "ela": "EfficientLocalAttention",
    "strip": "StripAttention",
    "sk": "SKAttention",
    "splat": "SplitAttention",
    "halo": "HaloAttention",
    "lambda": "LambdaAttention",
    "bottleneck": "BottleneckSelfAttention",
    "nl": "NonLocalAttention",
    "bat": "BilinearAttention",
}
"""The layers that `create_attn` of timm 1.0.31 has under these names."""
TIMM_ALONE = {"ecam": "eca", "ceca": "eca", "lcbam": "cbam", "scoord": "coord"}
"""Its other names, variants that no paper has, and what is near them here."""


@pytest.mark.parametrize(("name", "layer"), TIMM.items())
def test_names_of_timm(name, layer):
    assert type(create_attention(name)) is getattr(layers, layer)


@pytest.mark.parametrize(("name", "near"), TIMM_ALONE.items())
def test_variants_that_timm_alone_has_are_refused(name, near):
    with pytest.raises(ValueError, match=rf"'{name}'.*\b{near}"):
        create_attention(name)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_by_its_name(name):
    layer = create_attention(name.upper(), **LAYERS[name].required(SIZE), name="attention")
    assert type(layer) is getattr(layers, name)
    assert layer.name == "attention"
    for alias in LAYERS[name].aliases:
        assert catalog.layer_name(alias.upper()) == name


def test_the_name_of_a_mechanism_is_that_of_its_principal_layer():
    for mechanism in catalog.MECHANISMS:
        assert catalog.layer_name(mechanism.key) == mechanism.principal


def test_arguments_in_the_entry():
    layer = create_attention("CBAM : reduction=8, kernel_size=5", spatial=False)
    assert (layer.reduction, layer.kernel_size, layer.spatial) == (8, 5, False)
    layer = create_attention("sk:kernel_sizes=(3, 7),dilated=False,name='a:b'")
    assert (layer.kernel_sizes, layer.dilated, layer.name) == ((3, 7), False, "a:b")
    assert create_attention("bam:combine='add',data_format='channels_first'").combine == "add"
    assert create_attention("se:").reduction == 16


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("cbm", ["'cbm'", "cbam"]),
        ("cbam:reducton=8", ["CBAM", "reducton=8", "`reduction`"]),
        ("cbam:8", ["Python literals", "'cbam:8'"]),
        ("bam:combine=add", ["Python literals", "quotes"]),
        ("se:reduction=4)(1", ["Python literals"]),
        ("se:**{'reduction': 4}", ["Python literals"]),
        ("se:reduction=print(1)", ["Python literals"]),
        ("se:reduction=4,name='se',reduction=8", ["Python literals"]),
        ("dot-product:data_format='channels_last'", ["ScaledDotProductAttention", "data_format"]),
        ("se:reduction=" + "(" * 5000, ["Python literals"]),
        ("se:reduction=0", ["SEAttention", "reduction=0"]),
        (3, ["attention=3"]),
        (lambda: 3, ["must return a layer", "3"]),
    ],
    ids=lambda one: one.__name__ if callable(one) else str(one)[:30],
)
def test_what_is_refused(entry, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        create_attention(entry)
    for word in words:
        assert word in str(caught.value)


def test_an_argument_given_twice():
    with pytest.raises(ValueError, match=r"`reduction` is given twice.*'se:reduction=4'"):
        create_attention("se:reduction=4", reduction=8)


def test_none_classes_functions_and_layers_as_timm_takes_them():
    assert [create_attention(one) for one in (None, "", False)] == [None] * 3
    assert type(create_attention(True, reduction=4)) is SEAttention
    assert create_attention(SEAttention, reduction=4).reduction == 4
    assert create_attention(partial(SEAttention, 4)).reduction == 4
    layer = keras.layers.Dense(3)
    assert create_attention(layer) is layer
    with pytest.raises(ValueError, match=r"takes no arguments.*units"):
        create_attention(layer, units=4)
