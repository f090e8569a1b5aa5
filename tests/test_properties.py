"""Properties that the mathematics promises, over random legal shapes and arguments."""

import keras
import numpy as np
import pytest
from attn_core import layers
from attn_core.layers.mixers.spatial_shift import shift_quarters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

EXAMPLES = 2 if keras.config.backend() == "jax" else 6
"""JAX compiles every operation anew for every shape."""

settings.register_profile(
    "attn", max_examples=EXAMPLES, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
settings.load_profile("attn")

small = st.integers(1, 7)
seeds = st.integers(0, 10_000)


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def run(layer, *inputs, **call):
    output = layer(*inputs, **call)
    return ops.convert_to_numpy(output)


def randomize(layer, seed):
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        noise = rng.standard_normal(weight.shape)
        weight.assign(1 + 0.1 * noise if "variance" in weight.path else 0.5 * noise)


def options(**choices):
    """Draw a configuration: one value of each list."""
    return st.fixed_dictionaries(
        {name: st.sampled_from(values) for name, values in choices.items()}
    )


LEGAL = {
    "ResidualAttention": options(num_classes=[1, 5], temperatures=[(1.0,), (2.0, float("inf"))]),
    "ExternalAttention": options(memory_size=[1, 7], num_heads=[1, 2], expansion=[1, 2],
                                 output_dim=[None, 5]),
    "ScaledDotProductAttention": options(num_heads=[1, 4], key_dim=[None, 3], value_dim=[None, 5],
                                         output_dim=[None, 7], use_bias=[True, False]),
    "SimplifiedScaledDotProductAttention": options(num_heads=[1, 4], output_dim=[None, 5]),
    "SEAttention": options(reduction=[1, 4, 100], use_bias=[True, False]),
    "SKAttention": options(kernel_sizes=[(3, 5), (3, 5, 7)], groups=[1, 4], min_width=[2]),
    "CBAM": options(reduction=[2], kernel_size=[3, 7], spatial=[True, False],
                    pool_types=[("avg",), ("max", "lse"), ("lp", "avg")]),
    "BAM": options(reduction=[2], dilation=[1, 3], channel_layers=[1, 2], spatial_layers=[1, 2],
                   combine=["multiply", "add"]),
    "ECAAttention": options(kernel_size=[None, 1, 3, 9], gamma=[1, 2], b=[0, 1]),
    "DualAttention": options(reduction=[1, 4]),
    "PositionAttention": options(reduction=[2, 8]),
    "ChannelSelfAttention": options(),
    "PyramidSqueezeAttention": options(filters=[None, 16], groups=[(1, 1, 1, 1), (1, 2, 2, 2)],
                                       strides=[1, 2], reduction=[1, 4]),
    "EfficientMultiHeadSelfAttention": options(num_heads=[1, 4], sr_ratio=[1, 2],
                                               apply_transform=[True, False], qkv_bias=[True]),
    "ShuffleAttention": options(groups=[1, 2, 4]),
    "MUSEAttention": options(num_heads=[1, 2], kernel_sizes=[(1,), (3, 7)], key_dim=[None, 3],
                             causal=[True, False]),
    "SpatialGroupEnhance": options(groups=[1, 2, 8]),
    "DoubleAttention": options(feature_dim=[None, 3], num_maps=[None, 5],
                               reconstruct=[True, False]),
    "AFTFull": options(max_length=[8, 20], hidden_dim=[None, 5], output_dim=[None, 3],
                       factorize=[None, 2]),
    "AFTLocal": options(max_length=[8], window_size=[1, 3, 20], factorize=[None, 2]),
    "AFTSimple": options(hidden_dim=[None, 5], output_dim=[None, 3]),
    "AFTConv": options(num_heads=[1, 4], kernel_size=[1, 3, 5], output_dim=[None, 3]),
    "OutlookAttention": options(num_heads=[1, 2], kernel_size=[1, 3, 5], strides=[1, 2, 3]),
    "WeightedPermuteMLP": options(segment_dim=[1, 2, 8], qkv_bias=[True, False]),
    "RelativeSelfAttention": options(num_heads=[1, 2], key_dim=[1, 4], output_dim=[None, 6]),
    "MBConv": options(filters=[8], expansion=[1, 2], se_ratio=[0.25, 0.5], kernel_size=[3, 5]),
    "ParallelPolarizedSelfAttention": options(),
    "SequentialPolarizedSelfAttention": options(),
    "CoTAttention": options(kernel_size=[3, 5], key_groups=[1, 4], share_planes=[2, 8]),
    "S2Attention": options(reduction=[1, 4, 100], use_bias=[True, False]),
    "GlobalFilter": options(),
    "TripletAttention": options(kernel_size=[1, 3, 7], spatial=[True, False]),
    "CoordinateAttention": options(reduction=[1, 4], min_width=[1, 8]),
    "MobileViTBlock": options(transformer_dim=[4, 8], num_blocks=[1], patch_size=[1, 2, 3]),
    "ParNetAttention": options(activation=["silu", "relu"]),
    "UFOAttention": options(num_heads=[1, 2], key_dim=[None, 3], norm_axis=["key", "value"]),
    "SeparableSelfAttention": options(use_bias=[True, False]),
    "MobileViTv2Block": options(transformer_dim=[8, 16], num_blocks=[1], patch_size=[1, 2, 3]),
}  # fmt: skip
TOKENS = {
    "ExternalAttention", "ScaledDotProductAttention", "SimplifiedScaledDotProductAttention",
    "MUSEAttention", "AFTFull", "AFTLocal", "AFTSimple", "UFOAttention", "SeparableSelfAttention",
}  # fmt: skip


def test_every_layer_has_properties():
    # Halo attention takes multiples of its blocks only: it has a test of its own.
    assert set(LEGAL) | {"HaloAttention"} == set(layers.__all__)


@pytest.mark.parametrize("name", sorted(LEGAL))
@given(data=st.data())
def test_shape_and_format(name, data):
    """The output has the declared shape; channels first gives the transposed numbers."""
    config = data.draw(LEGAL[name])
    height, width, seed = data.draw(small), data.draw(small), data.draw(seeds)
    cls = getattr(layers, name)
    if name in TOKENS:
        x = draw(seed, 2, height, 8)
        layer = cls(**config)
        assert run(layer, x).shape == tuple(layer.compute_output_shape(x.shape))
        return
    channels = 16 if name == "PyramidSqueezeAttention" else 8
    x = draw(seed, 2, height, width, channels)
    last, first = cls(**config), cls(**config, data_format="channels_first")
    output = run(last, x)
    assert output.shape == tuple(last.compute_output_shape(x.shape))
    turned = x.transpose(0, 3, 1, 2)
    assert run(first, turned).shape == tuple(first.compute_output_shape(turned.shape))
    randomize(last, seed)
    randomize(first, seed)
    expected, transposed = run(last, x), run(first, turned)
    if expected.ndim == 4:
        transposed = transposed.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(transposed, expected, atol=1e-4 * max(1, np.abs(expected).max()))


@given(blocks=st.tuples(small, small), size=st.sampled_from([1, 2, 4]), halo=st.integers(0, 3),
       padding=st.booleans(), seed=seeds)  # fmt: skip
def test_halo_shape_and_format(blocks, size, halo, padding, seed):
    config = {"block_size": size, "halo_size": halo, "num_heads": 2, "mask_padding": padding}
    x = draw(seed, 1, blocks[0] * size, blocks[1] * size, 8)
    last = layers.HaloAttention(**config)
    first = layers.HaloAttention(**config, data_format="channels_first")
    assert run(last, x).shape == x.shape
    first.build(x.transpose(0, 3, 1, 2).shape)
    randomize(last, seed)
    randomize(first, seed)
    turned = run(first, x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(turned, run(last, x), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("SEAttention", {"reduction": 2}),
        ("ECAAttention", {"kernel_size": 3}),
        ("CBAM", {"reduction": 2, "spatial": False}),
        ("SpatialGroupEnhance", {"groups": 2}),
        ("ShuffleAttention", {"groups": 2}),
        ("ChannelSelfAttention", {}),
        ("PositionAttention", {"reduction": 2}),
        ("DoubleAttention", {}),
        ("ParallelPolarizedSelfAttention", {}),
        ("SequentialPolarizedSelfAttention", {}),
    ],
)
@given(height=small, width=small, seed=seeds)
def test_pixels_may_be_permuted(name, config, height, width, seed):
    """Layers that know no neighbourhood: permuting the pixels permutes the output."""
    layer = getattr(layers, name)(**config)
    x = draw(seed, 2, height * width, 8)
    order = np.random.default_rng(seed).permutation(height * width)
    shape = (2, height, width, 8)
    layer.build(shape)
    randomize(layer, seed)
    output = run(layer, x.reshape(shape)).reshape(2, -1, 8)
    permuted = run(layer, x[:, order].reshape(shape)).reshape(2, -1, 8)
    np.testing.assert_allclose(permuted, output[:, order], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ScaledDotProductAttention", {"num_heads": 2}),
        ("SimplifiedScaledDotProductAttention", {"num_heads": 2}),
        ("ExternalAttention", {"memory_size": 5}),
        ("ExternalAttention", {"memory_size": 5, "num_heads": 2, "expansion": 2}),
        ("UFOAttention", {"num_heads": 2}),
        ("SeparableSelfAttention", {}),
        ("AFTSimple", {}),
    ],
)
@given(tokens=st.integers(1, 9), seed=seeds)
def test_tokens_may_be_permuted(name, config, tokens, seed):
    layer = getattr(layers, name)(**config)
    x = draw(seed, 2, tokens, 8)
    order = np.random.default_rng(seed).permutation(tokens)
    layer.build(x.shape)
    randomize(layer, seed)
    np.testing.assert_allclose(run(layer, x[:, order]), run(layer, x)[:, order], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        ("ScaledDotProductAttention", 0),
        ("SimplifiedScaledDotProductAttention", 0),
        # The convolutions beside the attention see all tokens, masked or not: kernel 1 but one.
        ("MUSEAttention", 1),
    ],
)
@given(tokens=st.integers(2, 8), seed=seeds, fused=st.booleans())
def test_a_hidden_key_changes_nothing(name, moves, tokens, seed, fused):
    config = {"kernel_sizes": (1,)} if moves else {}
    layer = getattr(layers, name)(num_heads=2, **config)
    x, key = draw(seed, 2, tokens, 8), draw(seed + 1, 2, tokens, 8)
    rng = np.random.default_rng(seed)
    mask = rng.random((2, tokens, tokens)) < 0.7
    hidden = rng.integers(tokens)
    mask[:, :, hidden] = False
    mask[:, 0] = False  # a query that may attend to nothing
    layer.build(x.shape, key.shape, key.shape)
    randomize(layer, seed)
    call = {"attention_mask": mask, **({} if fused else {"return_attention_scores": True})}
    first = layer(x, key, key, **call)
    other = key.copy()
    other[:, hidden] += 100.0
    second = layer(x, other, other, **call)
    if not fused:
        (first, scores), (second, _) = first, second
        assert np.abs(ops.convert_to_numpy(scores)[:, :, 0]).max() == 0
    first, second = ops.convert_to_numpy(first), ops.convert_to_numpy(second)
    assert np.isfinite(first).all()
    kept = [t for t in range(tokens) if t != hidden or not moves]
    np.testing.assert_allclose(first[:, kept], second[:, kept], atol=1e-4)


@given(height=st.integers(1, 6), width=st.integers(1, 6), seed=seeds)
def test_spatial_shift_is_exact_on_integers(height, width, seed):
    """Quarters of the channels move down, up, right, left; the border keeps its own value."""
    x = np.random.default_rng(seed).integers(-9, 9, (2, height, width, 8)).astype("float32")
    expected = x.copy()
    expected[:, 1:, :, 0:2] = x[:, :-1, :, 0:2]
    expected[:, :-1, :, 2:4] = x[:, 1:, :, 2:4]
    expected[:, :, 1:, 4:6] = x[:, :, :-1, 4:6]
    expected[:, :, :-1, 6:8] = x[:, :, 1:, 6:8]
    shifted = ops.convert_to_numpy(shift_quarters(ops.convert_to_tensor(x), (1, 1, 2, 2)))
    np.testing.assert_array_equal(shifted, expected)
