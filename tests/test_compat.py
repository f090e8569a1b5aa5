"""The usage snippets of External-Attention-tensorflow, with only the import changed."""

import warnings

import keras
import numpy as np
import pytest
from attn_core import catalog, compat, layers

IMAGE = (2, 7, 7, 512)
TOKENS = (2, 49, 512)

# number, snippet (as printed there, the batch of 50 made 2), input shape, output shape
SNIPPETS = [
    (1, "ResidualAttention(num_class=1000, la=0.2)", IMAGE, (2, 1000)),
    (2, "ExternalAttention(d_attention=512, S=8)", TOKENS, TOKENS),
    (3, "ScaledDotProductAttention(d_attention=512, d_k=512, d_v=512, h=8)", TOKENS, TOKENS),
    (4, "SimplifiedScaledDotProductAttention(d_attention=512, h=8)", TOKENS, TOKENS),
    (5, "SEAttention(channel=512, reduction=8)", IMAGE, IMAGE),
    (6, "SKAttention(channel=512, reduction=8)", IMAGE, IMAGE),
    (7, "CBAMBlock(channel=512, reduction=16, kernel_size=7)", IMAGE, IMAGE),
    (8, "BAMBlock(channel=512, reduction=16, dia_val=2)", IMAGE, IMAGE),
    (9, "ECAAttention(kernel_size=3)", IMAGE, IMAGE),
    (10, "DAModule(d_attention=512, kernel_size=3, H=7, W=7)", IMAGE, IMAGE),
    (11, "PSA(channel=512, reduction=8)", IMAGE, IMAGE),
    (
        12,
        "EMSA(d_attention=512, d_k=512, d_v=512, h=8, H=8, W=8, ratio=2, apply_transform=True)",
        (2, 64, 512),
        (2, 64, 512),
    ),
    (13, "ShuffleAttention(channel=512, G=8)", IMAGE, IMAGE),
    (14, "MUSEAttention(d_attention=512, d_k=512, d_v=512, h=8)", TOKENS, TOKENS),
    (15, "SpatialGroupEnhance(groups=8)", IMAGE, IMAGE),
    (16, "DoubleAttention(512, 128, 128, True)", IMAGE, IMAGE),
    (17, "AFT_FULL(d_model=512, n=49)", TOKENS, TOKENS),
    (18, "OutlookAttention(dim=512)", (2, 28, 28, 512), (2, 28, 28, 512)),
    (19, "WeightedPermuteMLP(dim=512, seg_dim=8)", (2, 8, 8, 512), (2, 8, 8, 512)),
    (20, "CoAtNet(in_ch=3, image_size=224)", (1, 224, 224, 3), (1, 7, 7, 768)),
    (21, "HaloAttention(dim=512, block_size=2, halo_size=1)", (1, 8, 8, 512), (1, 8, 8, 512)),
    (22, "ParallelPolarizedSelfAttention(channel=512)", (1, 7, 7, 512), (1, 7, 7, 512)),
    (22, "SequentialPolarizedSelfAttention(channel=512)", (1, 7, 7, 512), (1, 7, 7, 512)),
    (23, "CoTAttention(dim=512, kernel_size=3)", IMAGE, IMAGE),
    (24, "S2Attention(channels=512)", IMAGE, IMAGE),
    (
        25,
        "GFNet(embed_dim=384, img_size=224, patch_size=16, num_classes=1000)",
        (1, 224, 224, 3),
        (1, 1000),
    ),
    (26, "TripletAttention()", IMAGE, IMAGE),
    (27, "CoordAtt(inp=96, oup=96, reduction=32)", (2, 56, 56, 96), (2, 56, 56, 96)),
    (28, "MobileViTAttention()", (1, 49, 49, 3), (1, 49, 49, 3)),
    (29, "ParNetAttention(channel=512)", IMAGE, IMAGE),
    (30, "UFOAttention(d_model=512, d_k=512, d_v=512, h=8)", TOKENS, TOKENS),
    (31, "MobileViTv2Attention(d_model=512)", TOKENS, TOKENS),
]
THREE_INPUTS = (3, 4, 12, 14, 30)


@pytest.mark.parametrize(
    ("number", "snippet", "shape", "expected"), SNIPPETS, ids=[s[1].split("(")[0] for s in SNIPPETS]
)
def test_snippet(number, snippet, shape, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        layer = eval(snippet, {"__builtins__": {"True": True}}, vars(compat))
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    output = layer(x, x, x) if number in THREE_INPUTS else layer(x)
    assert tuple(output.shape) == expected
    assert np.isfinite(keras.ops.convert_to_numpy(output)).all()
    mechanism = catalog.MECHANISMS[number - 1]
    kinds = tuple(getattr(layers, name) for name in mechanism.layers)
    assert isinstance(layer, (*kinds, keras.Model))


def test_all_31_are_there():
    assert {number for number, *_ in SNIPPETS} == set(range(1, 32))
    assert {snippet.split("(")[0] for _, snippet, *_ in SNIPPETS} == set(compat.TABLE)


@pytest.mark.parametrize(
    ("snippet", "shape"),
    [
        ("SEAttention(channel=256)", IMAGE),
        ("ScaledDotProductAttention(d_model=256, d_k=8, d_v=8, h=8)", TOKENS),
        ("HaloAttention(dim=256, block_size=2, halo_size=1)", (1, 8, 8, 512)),
        ("CoordAtt(96, 96)", IMAGE),
        ("DAModule(H=7, W=8)", IMAGE),
        ("AFT_FULL(d_model=64, n=49, simple=True)", TOKENS),
    ],
)
def test_given_sizes_are_checked_against_the_input(snippet, shape):
    layer = eval(snippet, vars(compat).copy())
    with pytest.raises(ValueError, match="expected axis"):
        layer(np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("snippet", "error", "message"),
    [
        ("CoordAtt(96, 48)", ValueError, "`oup` must be 96"),
        ("OutlookAttention(512, kernel_size=5)", ValueError, "`padding` must be 2"),
        ("PSA(S=3)", ValueError, "`S` must be 4"),
        ("CoAtNet(in_ch=1)", ValueError, "`in_ch` must be 3"),
        ("CBAMBlock(512, kernel_size=4)", ValueError, "kernel_size=4"),
        ("SEAttention(channels=512)", TypeError, "compat.SEAttention(channel=512, reduction=16)"),
        ("AFT_FULL()", TypeError, "'d_model'"),
    ],
)
def test_wrong_arguments(snippet, error, message):
    with pytest.raises(error) as caught:
        eval(snippet, vars(compat).copy())
    assert message in str(caught.value)


@pytest.mark.parametrize("snippet", ["DAModule(kernel_size=3)", "ShuffleAttention(reduction=4)"])
def test_arguments_without_counterpart_warn_by_name(snippet):
    with pytest.warns(UserWarning, match=snippet.split("(")[1].split("=")[0]):
        eval(snippet, vars(compat).copy())


def test_arguments_arrive():
    assert compat.ResidualAttention(5, 0.3).get_config()["lam"] == 0.3
    assert compat.ResidualAttention(5).temperatures == (float("inf"),)
    sk = compat.SKAttention(64, kernels=[3, 5], group=2, L=16)
    assert (sk.kernel_sizes, sk.groups, sk.min_width, sk.dilated) == ((3, 5), 2, 16, False)
    assert compat.TripletAttention(no_spatial=True).spatial is False
    assert isinstance(compat.AFT_FULL(8, 4, simple=True), layers.AFTSimple)
    assert compat.GFNet(embed_dim=8, img_size=8, patch_size=4).get_config()["depths"] == 4
    assert compat.SEAttention(8, name="gate", dtype="mixed_bfloat16").name == "gate"


def test_emsa_is_self_attention_and_reloads(tmp_path):
    layer = compat.EMSA(8, 4, 4, 2, H=3, W=4, ratio=1)
    x = np.random.default_rng(0).standard_normal((2, 12, 8)).astype("float32")
    with pytest.raises(ValueError, match="must be `queries`"):
        layer(x, x + 1, x)
    inputs = keras.Input((12, 8))
    model = keras.Model(inputs, layer(inputs, inputs, inputs))
    model.save(tmp_path / "emsa.keras")
    reloaded = keras.saving.load_model(tmp_path / "emsa.keras")
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(reloaded(x)), expected, atol=1e-6)
