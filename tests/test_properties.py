"""Properties that the mathematics promises, over random legal shapes and arguments."""

import keras
import numpy as np
import pytest
from attn_core import catalog, layers
from attn_core.layers.mixers._spatial_shift import shift_quarters
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


def options(choices):
    """Draw a configuration: one value of each argument's."""
    return st.fixed_dictionaries(
        {name: st.sampled_from(values) for name, values in choices.items()}
    )


RANDOM = [name for name, record in catalog.LAYERS.items() if record.legal is not None]
PERMUTABLE = [
    (name, config) for name, record in catalog.LAYERS.items() for config in record.permutable
]


@pytest.mark.parametrize("name", RANDOM)
@given(data=st.data())
def test_shape_and_format(name, data):
    """The output has the declared shape; channels first gives the transposed numbers."""
    config = data.draw(options(catalog.LAYERS[name].legal))
    sides = small if catalog.LAYERS[name].one_position else st.integers(2, 7)
    height, width, seed = data.draw(sides), data.draw(sides), data.draw(seeds)
    cls = getattr(layers, name)
    if not issubclass(cls, layers.ImageLayer):
        x = draw(seed, 2, height, 8)
        layer = cls(**config)
        assert run(layer, x).shape == tuple(layer.compute_output_shape(x.shape))
        return
    channels = catalog.LAYERS[name].cases[0].shape[-1]
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


@given(side=small, heads=st.sampled_from([1, 2]), agents=st.sampled_from([1, 4, 9]),
       ratio=st.sampled_from([1, 2, 3]), seed=seeds)  # fmt: skip
def test_agent_shape_and_format(side, heads, agents, ratio, seed):
    """Square images of any size that is a multiple of the reduction, with fewer pixels too."""
    config = {"num_heads": heads, "agent_num": agents, "sr_ratio": ratio}
    x = draw(seed, 1, side * ratio, side * ratio, 8)
    last = layers.AgentAttention(**config)
    first = layers.AgentAttention(**config, data_format="channels_first")
    assert run(last, x).shape == x.shape
    first.build(x.transpose(0, 3, 1, 2).shape)
    randomize(last, seed)
    randomize(first, seed)
    turned = run(first, x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(turned, run(last, x), atol=1e-4)


@pytest.mark.parametrize(("name", "config"), PERMUTABLE)
@given(height=small, width=st.integers(2, 7), seed=seeds)
def test_positions_may_be_permuted(name, config, height, width, seed):
    """Layers that know no neighbourhood: permuting the positions permutes the output."""
    cls = getattr(layers, name)
    layer = cls(**config)
    x = draw(seed, 2, height * width, 8)
    order = np.random.default_rng(seed).permutation(height * width)
    shape = (2, height, width, 8) if issubclass(cls, layers.ImageLayer) else x.shape
    layer.build(shape)
    randomize(layer, seed)
    output = run(layer, x.reshape(shape)).reshape(2, -1, 8)
    permuted = run(layer, x[:, order].reshape(shape)).reshape(2, -1, 8)
    np.testing.assert_allclose(permuted, output[:, order], atol=1e-4)


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
