"""What `profile` counts, against formulas by hand and published figures; what it measures."""

import json
from math import log2

import attn_core
import keras
import numpy as np
import pytest
from attn_core import layers, models, profile
from attn_core._tools import profiling, stepping
from attn_core._tools.counting import count
from cases import FIRST
from keras import ops

B, H, W, C = 2, 8, 8, 32
N = H * W
IMAGE, TOKENS = (B, H, W, C), (B, N, C)
MATRICES, CONVOLUTIONS, FOURIER, SUMS = (
    "matrix products",
    "convolutions",
    "Fourier transforms",
    "sums of products",
)

BY_HAND = [
    (layers.SEAttention(4), IMAGE, {MATRICES: 2 * C * (C // 4)}),
    # Average and maximum go through the same two layers; 7x7 from two maps to one.
    (
        layers.CBAM(4),
        IMAGE,
        {MATRICES: 2 * 2 * C * (C // 4), CONVOLUTIONS: N * 7 * 7 * 2},
    ),
    (layers.ECAAttention(5), IMAGE, {SUMS: 5 * C}),
    # Four projections, Q K^T, A V.
    (
        layers.ScaledDotProductAttention(4),
        TOKENS,
        {MATRICES: 4 * N * C * C + 2 * N * N * C},
    ),
    (layers.ExternalAttention(16), TOKENS, {MATRICES: 2 * N * C * 16}),
    # n = N / 4 keys by a depthwise 3x3; 1x1 convolution over the 4 heads.
    (
        layers.EfficientMultiHeadSelfAttention(4, sr_ratio=2),
        IMAGE,
        {
            MATRICES: 2 * N * C * C + 2 * (N // 4) * C * C + N * (N // 4) * (2 * C + 4 * 4),
            CONVOLUTIONS: (N // 4) * 9 * C,
        },
    ),
    # Attention of 9 x 9 for each of 2 heads, predicted and applied.
    (
        layers.OutlookAttention(2),
        IMAGE,
        {MATRICES: 2 * N * C * C + N * C * 2 * 81 + N * 81 * C},
    ),
    # Windows of 6 x 6; relative positions along rows and columns.
    (
        layers.HaloAttention(4, halo_size=1, num_heads=2),
        IMAGE,
        {MATRICES: 3 * N * C * C + 2 * N * 36 * C + 2 * N * 6 * C},
    ),
    # Grouped 3x3 (4 groups); C / 8 kernels of 9 taps; the fusion's hidden width is 32.
    (
        layers.CoTAttention(),
        IMAGE,
        {
            CONVOLUTIONS: N * 9 * C * C // 4,
            MATRICES: N * (C * C + C // 2 * (C // 8 * 9) + C * C) + C * 32 + 32 * 2 * C,
            SUMS: N * C * (9 + 2),
        },
    ),
    (
        layers.RelativeSelfAttention(2, key_dim=8),
        IMAGE,
        {MATRICES: 4 * N * C * 16 + 2 * N * N * 16},
    ),
    # There and back: real rows, then complex columns; four products for each complex one.
    (
        layers.GlobalFilter(),
        IMAGE,
        {
            FOURIER: 2 * C * (H * W * log2(W) + (W // 2 + 1) * 2 * H * log2(H)),
            SUMS: 4 * H * (W // 2 + 1) * C,
        },
    ),
    # Along H and W in segments of 4 channels; a bottleneck of C / 4 weighs the three branches.
    (
        layers.WeightedPermuteMLP(4),
        IMAGE,
        {
            MATRICES: 2 * N * C * C
            + W * 4 * (H * C // 4) ** 2
            + H * 4 * (W * C // 4) ** 2
            + C * (C // 4)
            + (C // 4) * 3 * C,
            SUMS: 3 * N * C,
        },
    ),
    (layers.AFTFull(N), TOKENS, {MATRICES: 3 * N * C * C + 2 * N * N * C}),
    (layers.AFTSimple(), TOKENS, {MATRICES: 3 * N * C * C, SUMS: N * C}),
    # The key is taken of the pooled tokens: projecting each before would give the same.
    (
        layers.SeparableSelfAttention(),
        TOKENS,
        {MATRICES: 2 * N * C + 2 * N * C * C + C * C},
    ),
    # Two transformers of width 16 over N / 4 tokens, four times; 3x3 convolutions around them.
    (
        layers.MobileViTBlock(16),
        IMAGE,
        {
            CONVOLUTIONS: N * 9 * (C * C + 2 * C * C),
            MATRICES: 2 * N * C * 16
            + 2 * (N * 4 * 16 * 16 + 4 * (N // 4) ** 2 * 2 * 16 + N * 2 * 16 * 32),
        },
    ),
    # 5 + 3 taps for each of 4 heads; the kernels of both sizes are added up before they act.
    (
        layers.MUSEAttention(4, kernel_sizes=(3, 5)),
        TOKENS,
        {
            MATRICES: 3 * N * C * C + 2 * N * C * C + N * C * 4 * 8 + 2 * N * N * C,
            SUMS: 5 * N * C,
        },
    ),
    (
        layers.PositionAttention(8),
        IMAGE,
        {MATRICES: N * C * (2 * C // 8 + C) + N * N * (C // 8 + C), SUMS: N * C},
    ),
    # K^T V first: linear in the tokens.
    (layers.UFOAttention(4), TOKENS, {MATRICES: 4 * N * C * C + 2 * N * C * C // 4}),
    (layers.SpatialGroupEnhance(4), IMAGE, {SUMS: N * C}),
    (
        layers.MBConv(C, expansion=2),
        IMAGE,
        {MATRICES: 2 * N * C * 2 * C + 2 * 2 * C * (C // 4), CONVOLUTIONS: N * 9 * 2 * C},
    ),
]


@pytest.mark.parametrize(
    ("layer", "shape", "expected"), BY_HAND, ids=lambda value: getattr(value, "name", "")
)
def test_multiply_adds_by_hand(layer, shape, expected):
    found = count(layer, shape)
    assert found.multiply_adds == {kind: round(B * number) for kind, number in expected.items()}
    assert found.uncounted == ()
    assert found.output_shape == (
        shape if len(shape) == 3 else tuple(layer.compute_output_shape(shape))
    )


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (keras.layers.Dense(5), (2, 7, 3), 2 * 7 * 3 * 5),
        (keras.layers.EinsumDense("abc,cde->abde", (None, 2, 5)), (2, 7, 3), 2 * 7 * 3 * 10),
        (keras.layers.EinsumDense("...c,cd->...d", 5), (2, 7, 3), 2 * 7 * 3 * 5),
        (keras.layers.Conv1D(8, 3, strides=2, groups=2), (2, 9, 4), 2 * 4 * 3 * 2 * 8),
        (
            keras.layers.Conv2D(8, (3, 1), padding="same", data_format="channels_first"),
            (2, 4, 6, 5),
            2 * 30 * 3 * 4 * 8,
        ),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (2, 6, 5, 4), 2 * 12 * 9 * 8),
        (keras.layers.SeparableConv1D(7, 3), (2, 9, 4), 2 * 7 * 4 * (3 + 7)),
        (
            keras.layers.SeparableConv2D(7, 3, depth_multiplier=3),
            (2, 9, 5, 4),
            2 * 7 * 3 * 4 * 3 * (9 + 7),
        ),
        (keras.layers.Conv2DTranspose(8, 3, strides=2), (2, 6, 5, 4), 2 * 30 * 9 * 4 * 8),
        (
            keras.layers.MultiHeadAttention(2, 4),
            [(2, 9, 8), (2, 9, 8)],
            2 * (4 * 9 * 8 * 8 + 2 * 9 * 9 * 8),
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_keras_own_layers(layer, shape, expected):
    if isinstance(shape, list):  # one input: a layer for itself
        tokens = keras.Input(shape[0][1:])
        layer, shape = keras.Model(tokens, layer(tokens, tokens)), shape[0]
    assert sum(count(layer, shape).multiply_adds.values()) == expected


PUBLISHED = {
    # raoyongming/GFNet, README: G FLOPs, of which each is a multiply-add. (The paper: XS 2.9.)
    "gfnet_ti": ("GFNet", {}, 224, 1.3, 0),
    "gfnet_xs": ("GFNet", {}, 224, 2.8, 0),
    "gfnet_s": ("GFNet", {}, 224, 4.5, 0),
    "gfnet_b": ("GFNet", {}, 224, 7.9, 0),
    "gfnet_h_b": ("GFNetPyramid", {}, 224, 8.4, 0),
    # The paper's table. There the first convolution of a strided MBConv has the stride, in timm,
    # whose network this is, the second: the widening from 64 to 384 channels runs at 112x112
    # rather than 56x56, that from 96 to 768 at 56x56 rather than 28x28.
    "coatnet_0": (
        "CoAtNet",
        {},
        224,
        4.2,
        -(64 * 384 * (112**2 - 56**2) + 96 * 768 * (56**2 - 28**2)),
    ),
    "vip_s7": ("VisionPermutator", {}, 224, 6.9, 0),  # the paper's table
    "volo_d1": ("VOLO", {}, 224, 6.8, 0),  # the paper's table
    "mobilevit_s": ("MobileViT", {}, 256, 2.0, 0),  # the paper of MobileViTv2
    # The paper's table. It counts the keys of all tokens; here the tokens are pooled first.
    "mobilevitv2_100": (
        "MobileViTv2",
        {},
        256,
        1.8,
        2 * 1024 * 128**2 + 4 * 256 * 192**2 + 3 * 64 * 256**2,
    ),
    "cotnet_50": ("CoTNet", {}, 224, 3.3, 0),  # JDAI-CV/CoTNet, README
    # The tables of implus/PytorchInsight, murufeng/EPSANet and the paper of ResNeSt.
    "resnet_50": ("AttentionResNet", {}, 224, 4.122, 0),
    "sk_resnet_50": ("AttentionResNet", {}, 224, 4.185, 0),
    "epsanet_50": ("AttentionResNet", {}, 224, 3.62, 0),
    "resnest_50": ("ResNeSt", {}, 224, 5.39, 0),
    # The paper's table.
    "swin_t": ("Swin", {}, 224, 4.5, 0),
    "swin_s": ("Swin", {}, 224, 8.7, 0),
    "swin_b": ("Swin", {}, 224, 15.4, 0),
    # Visual-Attention-Network/VAN-Classification, README, and
    # SHI-Labs/Neighborhood-Attention-Transformer, NAT.md.
    "van_b1": ("VAN", {}, 224, 2.5, 0),
    "van_b2": ("VAN", {}, 224, 5.0, 0),
    "nat_mini": ("NAT", {}, 224, 2.7, 0),
    "nat_base": ("NAT", {}, 224, 13.7, 0),
    # The paper's table, of the fused networks: there a multiply-add is two FLOPs.
    "parnet_s": ("ParNet", {"fused": True}, 224, 9.7 / 2, 0),
    "parnet_m": ("ParNet", {"fused": True}, 224, 17.2 / 2, 0),
}
"""By variant: class, arguments, side of the image, published G multiply-adds, and how many more the
publication counts."""


def count_network(name, variant, side, **arguments):
    with keras.StatelessScope(initialize_variables=False):  # shapes, no values
        network = getattr(models, name).from_variant(variant, **arguments)
        found = count(network, (1, side, side, 3))
    keras.utils.clear_session()
    assert found.uncounted == ()
    return sum(found.multiply_adds.values())


@pytest.mark.parametrize("variant", PUBLISHED)
def test_published_multiply_adds(variant):
    name, arguments, side, published, more = PUBLISHED[variant]
    found = count_network(name, variant, side, **arguments)
    assert (found + more) / 1e9 == pytest.approx(published, rel=0.03)


def test_rest_by_hand():
    """ResT-S: 1.9 G are published, in a way that leaves out more than the attention products."""
    tokens, widths, depths = (56**2, 28**2, 14**2, 7**2), (64, 128, 256, 512), (2, 2, 6, 2)
    stem = 112**2 * 9 * (3 * 32 + 32 * 32) + 56**2 * 9 * 32 * 64
    down = sum(n * 9 * c * 2 * c for n, c in zip(tokens[1:], widths[:3], strict=True))
    positions = sum(n * 9 * c for n, c in zip(tokens, widths, strict=True))
    linear = products = shrink = 0
    for n, c, depth, heads, ratio in zip(
        tokens, widths, depths, (1, 2, 4, 8), (8, 4, 2, 1), strict=True
    ):
        keys = 49
        linear += depth * (n * 10 * c * c + keys * 2 * c * c)
        products += depth * n * keys * (2 * c + (heads**2 if heads > 1 else 0))
        if ratio > 1:  # an even kernel of ratio + 1 taps, padded to an odd one where need be
            shrink += depth * keys * (ratio + 1) ** 2 * c
    expected = stem + down + positions + linear + products + shrink + 512 * 1000
    assert count_network("ResT", "rest_small", 224) == expected
    assert expected / 1.9e9 == pytest.approx(1.10, abs=0.01)


def test_memory():
    """Of x (8 numbers) the outputs a and b have 16 each, c has 4; the reshape shares with b."""
    x = keras.Input((4,))
    a = keras.layers.Dense(8, use_bias=False)(x)
    b = keras.layers.Activation("relu")(a)
    c = keras.layers.Dense(2, use_bias=False)(keras.layers.Reshape((8,))(b))
    found = count(keras.Model(x, c), (2, 4))
    assert found.saved_bytes == 4 * (8 + 16 + 16 + 4)
    assert found.peak_bytes == 4 * (8 + 16 + 16)
    half = keras.layers.Dense(8, use_bias=False, dtype="mixed_float16")
    assert count(half, (2, 4)).saved_bytes == 4 * 8 + 2 * 8 + 2 * 16  # with the cast input


def test_memory_is_free_after_the_last_use():
    """Of x, a, b and c (8, 16, 12 and 16 numbers), a is no longer needed when c is made."""
    x = keras.Input((4,))
    a = keras.layers.Dense(8, use_bias=False)(x)
    b = keras.layers.Dense(6, use_bias=False)(a)
    c = keras.layers.Dense(8, use_bias=False)(b)
    assert count(keras.Model(x, c), (2, 4)).peak_bytes == 4 * (8 + 16 + 12)


def test_memory_of_several_outputs():
    """They are held to the end, and one that is given back twice, or is the input, only once."""
    x = keras.Input((4,))
    a = keras.layers.Dense(8, use_bias=False)(x)
    b = keras.layers.Dense(2, use_bias=False)(a)
    found = count(keras.Model(x, [a, b, a, x]), (2, 4))
    assert found.saved_bytes == found.peak_bytes == 4 * (8 + 16 + 4)


def test_memory_of_a_layer_that_does_nothing():
    """The output is the input: 8 numbers, held once."""
    x = keras.Input((4,))
    found = count(keras.Model(x, x), (2, 4))
    assert found.saved_bytes == found.peak_bytes == 4 * 8


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (lambda x, w: ops.tensordot(x, w, 1), 2 * 7 * 3 * 5),
        (lambda x, w: ops.dot(x, w), 2 * 7 * 3 * 5),
        (lambda x, w: ops.einsum("btc,cd->bd", x, w), 2 * 7 * 3 * 5),
        (lambda x, w: ops.matmul(x, w), 2 * 7 * 3 * 5),
    ],
)
def test_products(product, expected):
    x = keras.Input((7, 3))
    weights = ops.ones((3, 5))
    assert count(keras.Model(x, product(x, weights)), (2, 7, 3)).multiply_adds == {
        MATRICES: expected
    }


LINEAR = [
    (layers.LinearAttention(1), (1, 2**14, 8), 2**14),
    (layers.LinearAttention(1, causal=True), (1, 2**14, 8), 2**14),
    (layers.AgentAttention(1), (1, 64, 64, 8), 64**2),
    (layers.FocusedLinearAttention(1), (1, 64, 64, 8), 64**2),
    (layers.FocusedLinearAttention(1, sr_ratio=2), (1, 64, 64, 8), 64**2),
    (layers.AgentAttention(1, agent_num=4, sr_ratio=2), (1, 64, 64, 8), 64**2),
]


@pytest.mark.parametrize(("layer", "shape", "tokens"), LINEAR, ids=lambda x: getattr(x, "name", ""))
def test_no_matrix_of_all_pairs(layer, shape, tokens):
    """All tensors together take less than the matrix of all pairs would, of one head."""
    assert count(layer, shape).saved_bytes < 4 * tokens**2


class Scaled(keras.layers.Layer):
    """Weights on the left of operators, where no Keras operation is asked."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],))

    def call(self, x):
        return self.scale * x + ops.abs(self.scale) * ops.square(x) - self.scale @ ops.ones((1,))


class OnBackend(keras.layers.Layer):
    """Asks for a product, then for numbers, which nothing symbolic has."""

    def call(self, x):
        x = x + ops.sum(ops.matmul(x, ops.transpose(x)) * ops.matmul(x, ops.transpose(x)))
        return x + np.asarray(x).size if keras.utils.is_keras_tensor(x) else x


def test_weights_on_the_left_of_operators():
    layer = Scaled()
    layer.build((None, 1))
    found = count(layer, (2, 1))
    assert found.uncounted == ()
    assert found.multiply_adds == {SUMS: 4}


@pytest.mark.every_backend
def test_every_layer_is_counted():
    """What a backend computes in its own way is counted as the layer writes it."""
    for case in FIRST:
        assert not count(case.make(), (2, *case.shape[1:])).uncounted, case.id


def test_what_cannot_be_counted_is_named():
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(3)(OnBackend(name="opaque")(x)))
    found = count(model, (2, 4))
    assert found.uncounted == ("opaque",)
    assert found.multiply_adds == {MATRICES: 2 * 4 * 3}
    assert "not counted    opaque" in str(profile(model, (2, 4), modes=()))


def test_nothing_changes():
    """Weights, statistics and seeds, the graph, Keras itself: all as before, after errors too."""
    x = keras.Input((4,))
    dense = keras.layers.Dense(4)
    normal = keras.layers.BatchNormalization()(dense(x))
    model = keras.Model(x, dense(keras.layers.Dropout(0.5)(normal)))
    operators = (keras.Operation.symbolic_call, keras.layers.Layer.symbolic_call)
    before = [ops.convert_to_numpy(variable) for variable in model.variables]
    summary = []
    model.summary(print_fn=lambda text, **kwargs: summary.append(text))
    profile(model, (3, 4), modes=("eager",), seconds=0)
    again = []
    model.summary(print_fn=lambda text, **kwargs: again.append(text))
    assert again == summary
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    with pytest.raises(ValueError, match="divisible"):
        profile(layers.ShuffleAttention(), (2, 4, 4, 24))
    assert (keras.Operation.symbolic_call, keras.layers.Layer.symbolic_call) == operators
    assert "__mul__" not in vars(keras.Variable)
    assert keras.KerasTensor.__jax_array__ is not None


def test_profile_of_a_layer():
    result = profile(layers.SKAttention(min_width=4), (2, 6, 6, 8), seconds=0.01, modes=("eager",))
    assert isinstance(result, attn_core.Profile)
    assert result.backend == keras.config.backend()
    assert (result.input_shape, result.output_shape) == ((2, 6, 6, 8), (2, 6, 6, 8))
    statistics = 2 * (8 + 8 + 4)  # of three BatchNormalizations
    assert result.other_parameters == statistics
    assert result.trainable_parameters == 2 * 9 * 8 * 8 + 8 * 4 + 4 * 16 + statistics
    for step in ("forward", "training"):
        latency = result.latency["eager"][step]
        assert 0 < latency.least_ms <= latency.median_ms
        assert latency.spread_ms >= 0
        assert latency.runs >= 5
    assert json.loads(json.dumps(result.as_dict()))["kind"] == "SKAttention"
    for line in ("SKAttention 'sk_attention", "parameters", "multiply-adds", "MB", "forward"):
        assert line in str(result)


@pytest.mark.every_backend
@pytest.mark.skipif(keras.config.backend() == "torch", reason="torch.compile takes a minute")
def test_compiled():
    result = profile(layers.ECAAttention(), (2, 4, 4, 8), modes=("compiled",), seconds=0)
    assert result.failed == {}
    assert set(result.latency["compiled"]) == {"forward", "training"}
    # On TensorFlow, a table of which entries are gathered has a gradient of some rows alone.
    windows = layers.WindowAttention(window_size=3, num_heads=2)
    assert profile(windows, (1, 6, 6, 8), modes=("compiled",), seconds=0).failed == {}
    network = models.GFNet(8, depths=1, patch_size=8, image_size=16, dropout=0.1)
    result = profile(network, (1, 16, 16, 3), modes=("compiled",), seconds=0, training=False)
    assert set(result.latency["compiled"]) == {"forward"}


def test_a_compiler_that_fails_is_reported(monkeypatch):
    def broken(layer, x, compiled):
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr(profiling, "forward_step", broken)
    result = profile(layers.SEAttention(), (2, 4, 4, 16), modes=("compiled",))
    assert result.latency == {}
    assert result.failed == {"compiled": "RuntimeError: no C++ compiler"}
    assert "failed: RuntimeError" in str(result)


@pytest.mark.every_backend
@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_step_trains(compiled, monkeypatch):
    if compiled and keras.config.backend() == "torch":
        pytest.skip("torch.compile takes a minute")
    monkeypatch.setattr(stepping, "LEARNING_RATE", 0.01)
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    x = np.array([[1.0], [3.0]], "float32")
    layer(x)
    # The loss is (w^2 + (3 w)^2) / 2: its derivatives at w = 1 are 10, and the input itself.
    (weight,), gradient = stepping.training_step(layer, x, compiled)()
    np.testing.assert_allclose(ops.convert_to_numpy(weight), [[0.9]], rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), x, rtol=1e-6)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    assert stepping.training_step(model, x, compiled)()[1] is None


def test_steps_tell_the_layer_whether_it_trains():
    """Inference in the forward step, training in the other."""

    seen = []

    class Asked(keras.layers.Layer):
        def call(self, x, training=None):
            seen.append(training)
            return x

    layer, x = Asked(), np.ones((1, 2), "float32")
    layer(x)
    seen.clear()
    stepping.forward_step(layer, x, False)()
    stepping.training_step(layer, x, False)()
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("SEAttention", (2, 4, 4, 16)), ("expected a Keras layer", "SEAttention")),
        ((layers.SEAttention(), (None, 4, 4, 16)), ("input_shape", "None")),
        ((layers.SEAttention(), 16), ("input_shape", "16")),
        ((layers.SEAttention(), (2, 4, 4, 0)), ("input_shape", "0")),
        ((layers.CoordinateAttention(), (2, 4, 16)), ("CoordinateAttention", "rank 4")),
        ((layers.SEAttention(), (2, 4, 4, 16), ("fast",)), ("modes", "fast")),
        ((layers.SEAttention(), (2, 4, 4, 16), ("eager",), -1), ("seconds", "-1")),
    ],
)
def test_bad_arguments(arguments, words):
    layer, shape, *options = arguments
    options = dict(zip(("modes", "seconds"), options, strict=False))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        profile(layer, shape, **options)
    for word in words:
        assert word in str(caught.value)


def test_latency(monkeypatch):
    """Median, distance of the quartiles, least and number, of as many runs as the time allows."""
    now, taken = [0.0], iter([9.0, 9.0, 9.0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007])
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: now[0])

    def step():
        now[0] += next(taken)

    latency = profiling.time_step(step, seconds=0.028)
    found = latency.median_ms, latency.spread_ms, latency.least_ms, latency.runs
    assert found == pytest.approx((4, 3, 1, 7))


def test_short_steps_are_repeated(monkeypatch):
    """Five measurements of five steps, 2 ms or more each, after three steps that do not count."""
    now, steps = [0.0], []
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: now[0])

    def step():
        steps.append(now[0])
        now[0] += 0.45e-3

    latency = profiling.time_step(step, seconds=0)
    assert (latency.runs, len(steps)) == (25, 28)
    assert latency.median_ms == pytest.approx(0.45)


def test_a_step_hardly_changes_the_weights():
    """The numbers stay in range through hundreds of them, also if gradients are large."""
    layer, x = keras.layers.Dense(3), 100 * np.ones((2, 5), "float32")
    layer(x)
    before = ops.convert_to_numpy(layer.kernel)
    stepping.training_step(layer, x, False)()
    assert 0 < np.abs(ops.convert_to_numpy(layer.kernel) - before).max() < 0.1


def test_short():
    numbers = {999: "999", 1000: "1 k", 65_536: "65.5 k", 1_283_000_000: "1.28 G"}
    numbers |= {10**6: "1 M", 10**9: "1 G", 10**12: "1 T", 10**9 - 1: "1e+03 M"}
    assert {number: profiling.short(number) for number in numbers} == numbers
