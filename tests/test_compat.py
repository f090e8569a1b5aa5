"""The usage snippets of the External-Attention collections, with only the import changed.

Those of the collection for PyTorch have their images channels last.
"""

import inspect
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
    (20, "CoAtNet(in_ch=1, image_size=32)", (1, 32, 32, 1), (1, 1, 1, 768)),
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
DAT = "DAttentionBaseline((14, 14), (14, 14), 12, 32, 3, 0.0, 0.0, 1, {}, {})"
DAT_OF_STAGE_3 = DAT.format(2, "True, False, False, False, 2")
AXIAL_FIRST = (
    "AxialAttention(dim=3, dim_index=1, dim_heads=32, heads=1, num_dimensions=2, "
    "sum_axial_out=True)"
)
ONLY_PYTORCH = [
    (32, "SimAM(64)", (3, 7, 7, 64), (3, 7, 7, 64)),
    (32, "simam_module(64)", (3, 7, 7, 64), (3, 7, 7, 64)),
    (42, "CrissCrossAttention(64)", (3, 7, 7, 64), (3, 7, 7, 64)),
    (46, "AxialAttention(128)", (3, 7, 7, 128), (3, 7, 7, 128)),
    (46, AXIAL_FIRST, (1, 3, 16, 8), (1, 3, 16, 8)),
    (49, "CrossFormerAttention(48, group_size=(7, 7), num_heads=3)", *[(1, 14, 21, 48)] * 2),
    (50, DAT_OF_STAGE_3, (1, 14, 14, 384), (1, 14, 14, 384)),
    (51, "ACmix(in_planes=256, out_planes=256)", (2, 7, 7, 256), (2, 7, 7, 256)),
]
"""As SNIPPETS; of DAT and CrossFormer what their networks make of their snippets' arguments."""
THREE_INPUTS = (3, 4, 12, 14, 30)


@pytest.mark.parametrize(
    ("number", "snippet", "shape", "expected"),
    SNIPPETS + ONLY_PYTORCH,
    ids=[snippet.split("(")[0] for _, snippet, *_ in SNIPPETS + ONLY_PYTORCH],
)
def test_snippet(number, snippet, shape, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        layer = eval(snippet, {"__builtins__": {"True": True}}, vars(compat))
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    output = layer(x, x, x) if number in THREE_INPUTS else layer(x)
    assert tuple(output.shape) == expected
    assert np.isfinite(keras.ops.convert_to_numpy(output)).all()
    mechanism = next(one for one in catalog.MECHANISMS if one.number == number)
    kinds = tuple(getattr(layers, name) for name in mechanism.layers)
    assert isinstance(layer, (*kinds, keras.Model))


def test_all_31_are_there():
    assert {number for number, *_ in SNIPPETS} == set(range(1, 32))
    assert {snippet.split("(")[0] for _, snippet, *_ in SNIPPETS} == set(compat.TENSORFLOW)


def test_what_only_the_collection_for_pytorch_has_is_there():
    assert {snippet.split("(")[0] for _, snippet, *_ in ONLY_PYTORCH} == set(compat.PYTORCH)
    assert set(compat.__all__) == {*compat.TENSORFLOW, *compat.PYTORCH}


@pytest.mark.parametrize(
    ("snippet", "shape"),
    [
        ("SEAttention(channel=256)", IMAGE),
        ("ScaledDotProductAttention(d_model=256, d_k=8, d_v=8, h=8)", TOKENS),
        ("HaloAttention(dim=256, block_size=2, halo_size=1)", (1, 8, 8, 512)),
        ("CoordAtt(96, 96)", IMAGE),
        ("DAModule(H=7, W=8)", IMAGE),
        ("AFT_FULL(d_model=64, n=49, simple=True)", TOKENS),
        ("ACmix(64, 512)", IMAGE),
        ("CrissCrossAttention(64)", IMAGE),
        ("CrossFormerAttention(64, 7, 8)", IMAGE),
        ("AxialAttention(7)", IMAGE),
        (AXIAL_FIRST, (1, 16, 8, 3)),
        ("SimAM(64)", IMAGE),
        ("simam_module(64)", IMAGE),
        (DAT_OF_STAGE_3, (1, 14, 14, 192)),
        (DAT_OF_STAGE_3, (1, 14, 7, 384)),
        (DAT_OF_STAGE_3, (1, 7, 14, 384)),
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
        ("CoAtNet(in_ch=0)", ValueError, "in_channels=0"),
        ("CBAMBlock(512, kernel_size=4)", ValueError, "kernel_size=4"),
        ("ACmix(64, 64, kernel_conv=5)", ValueError, "`kernel_conv` must be 3"),
        ("ACmix(64, 64, dilation=2)", ValueError, "`dilation` must be 1"),
        ("CrossFormerAttention(64, (7, 5), 4)", ValueError, "`group_size` must be (7, 7)"),
        ("CrossFormerAttention(64, 7, 4, qk_scale=1)", ValueError, "`qk_scale` must be None"),
        ("CrossFormerAttention(64, 7, 4, proj_drop=0.1)", ValueError, "`proj_drop` must be 0"),
        ("CrossFormerAttention(64, 7, 4, position_bias=False)", ValueError, "`position_bias` must"),
        ("AxialAttention(64, num_dimensions=3)", ValueError, "`num_dimensions` must be 2"),
        ("AxialAttention(64, dim_index=2)", ValueError, "one of [-1, 3, 1, -3]"),
        (DAT.format(2, "False, False, False, False, 2"), ValueError, "`use_pe` must be True"),
        (DAT.format(2, "True, True, False, False, 2"), ValueError, "`dwc_pe` must be False"),
        (DAT.format(2, "True, False, True, False, 2"), ValueError, "`no_off` must be False"),
        (DAT.format(2, "True, False, False, True, 2"), ValueError, "`fixed_pe` must be False"),
        (DAT.format(2, "True, False, False, False, 4"), ValueError, "one of [0, 1, 2, 3]"),
        (DAT.format(0, "True, False, False, False, 2"), ValueError, "offset_range_factor=0"),
        (DAT_OF_STAGE_3.replace("0.0, 1,", "0.1, 1,"), ValueError, "`proj_drop` must be 0"),
        (DAT_OF_STAGE_3.replace("(14, 14), 12", "(7, 7), 12"), ValueError, "must be (14, 14)"),
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
    acmix = compat.ACmix(64, 32, 5, 8, 3, 2)
    assert (acmix.output_dim, acmix.kernel_size, acmix.num_heads, acmix.strides) == (32, 5, 8, 2)
    axial = compat.AxialAttention(64, 2, 4, 3, 1, False)
    assert (axial.num_heads, axial.key_dim, axial.combine) == (4, 3, "sequential")
    assert compat.AxialAttention(64, heads=4).combine == "add"
    axes = {compat.AxialAttention(8, dim_index=one).data_format for one in (1, -3)}
    assert axes == {"channels_first"}
    assert compat.AxialAttention(8, dim_index=3).data_format == "channels_last"
    former = compat.CrossFormerAttention(64, 5, 4, qkv_bias=False, attn_drop=0.1)
    assert (former.group_size, former.num_heads, former.interval) == (5, 4, None)
    assert (former.qkv_bias, former.dropout) == (False, 0.1)
    assert compat.SimAM(e_lambda=0.1).epsilon == compat.simam_module(None, 0.1).epsilon == 0.1
    assert compat.SEAttention(8, name="gate", dtype="mixed_bfloat16").name == "gate"


@pytest.mark.parametrize(
    ("stage", "kernel_size", "old", "new"),
    [(0, 9, -1, None), (1, 7, 2, 2), (2, 5, 2, 2), (3, 3, -1, None)],
)
def test_arguments_of_deformable_attention(stage, kernel_size, old, new):
    layer = compat.DAttentionBaseline(
        (8, 6), (8, 6), 6, 8, 3, 0.1, 0.0, 2, old, True, False, False, False, stage
    )
    assert (layer.num_heads, layer.groups, layer.dropout, layer.strides) == (6, 3, 0.1, 2)
    assert (layer.kernel_size, layer.offset_range_factor) == (kernel_size, new)
    assert layer.grid == "centers"  # the first release, whose class this is


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


def test_emsa_keeps_the_sides_of_its_image(tmp_path):
    """H and W are part of its configuration: 16 tokens are 2 x 8 after a reload too, not 4 x 4."""
    layer = compat.EMSA(8, 4, 4, 2, H=2, W=8, ratio=2)
    x = np.random.default_rng(0).standard_normal((2, 16, 8)).astype("float32")
    model = keras.Sequential([keras.Input((16, 8)), layer])
    expected = keras.ops.convert_to_numpy(model(x))
    model.save(tmp_path / "emsa.keras")
    reloaded = keras.saving.load_model(tmp_path / "emsa.keras")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(reloaded(x)), expected, atol=1e-6)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.side == (2, 8)
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(keras.ops.convert_to_numpy(again(x)), expected, atol=1e-6)


def test_images_are_channels_last_whatever_the_default_of_keras():
    snippets = [
        snippet
        for _, snippet, shape, _ in SNIPPETS + ONLY_PYTORCH
        if len(shape) == 4
        and snippet != AXIAL_FIRST
        and not snippet.startswith(("CoAtNet", "GFNet"))  # networks have no `data_format`
    ]
    keras.config.set_image_data_format("channels_first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            made = [eval(snippet, vars(compat).copy()) for snippet in snippets]
    finally:
        keras.config.set_image_data_format("channels_last")
    assert {layer.name: layer.data_format for layer in made} == {
        layer.name: "channels_last" for layer in made
    }


def test_signatures_are_visible():
    """Type checkers and editors see the old arguments, and what is built."""
    signature = inspect.signature(compat.CBAMBlock)
    assert list(signature.parameters) == ["channel", "reduction", "kernel_size", "options"]
    assert signature.parameters["kernel_size"].default == 49
    for name in compat.__all__:
        annotations = inspect.get_annotations(getattr(compat, name))
        assert annotations.keys() == {
            *inspect.signature(getattr(compat, name)).parameters,
            "return",
        }
