"""Single mechanisms, where the reference vectors and the generic tests do not reach."""

from inspect import signature

import keras
import numpy as np
import pytest
from attn_core import _checks as checks
from attn_core import layers, load_torch_weights
from attn_core._ops.spectra import filter_spectrum
from attn_core._tools.counting import count
from attn_core.layers._normalization import BatchNormalization
from attn_core.layers.gates._cbam import pool
from cases import CASES, FIRST
from gradients import value_and_gradients
from test_layers import numpy, randomize


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.mark.every_backend
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 1), (6, 8), (5, 7), (34, 33), (33, 40)])
def test_global_filter_is_the_fft(size):
    """Small images by matrices, large ones by FFT; imaginary parts that cannot matter do not."""
    height, width = size
    x, spectrum = draw(2, height, width, 3), draw(height, width // 2 + 1, 3, 2, seed=1)
    product = np.fft.fft(np.fft.rfft(x, axis=2), axis=1) * (
        spectrum[..., 0] + 1j * spectrum[..., 1]
    )
    expected = np.fft.irfft(np.fft.ifft(product, axis=1), n=width, axis=2)
    tensors = map(keras.ops.convert_to_tensor, (x, spectrum))
    np.testing.assert_allclose(numpy(filter_spectrum(*tensors)), expected, atol=2e-5)


def test_global_filter_is_resized_with_its_corners_kept():
    """Every second frequency of the larger filter is one of the smaller, the others are between."""
    small, large = layers.GlobalFilter(), layers.GlobalFilter()
    small.build((None, 4, 6, 3))
    large.build((None, 7, 12, 3))
    large.resize_from(small)
    old, new = numpy(small.filter), numpy(large.filter)
    np.testing.assert_allclose(new[::2, ::2], old, atol=1e-7)
    np.testing.assert_allclose(new[1::2, ::2], (old[:-1] + old[1:]) / 2, atol=1e-7)
    np.testing.assert_allclose(new[::2, 1::2], (old[:, :-1] + old[:, 1:]) / 2, atol=1e-7)


def aft(layer, x, bias):
    """AFT-full in float64, with an N x N x C tensor."""
    dense = (layer.query, layer.key, layer.value)
    q, k, v = (x.astype("float64") @ numpy(d.kernel) + numpy(d.bias) for d in dense)
    z = k[:, None] + bias[None, :, :, None]
    weights = np.exp(z - z.max(axis=2, keepdims=True))
    return (weights * v[:, None]).sum(2) / weights.sum(2) / (1 + np.exp(-q))


@pytest.mark.every_backend
@pytest.mark.parametrize("bias", ["normal", "large", "causal"])
def test_aft_neither_overflows_nor_underflows(bias):
    layer, x = layers.AFTFull(9), draw(2, 9, 8)
    layer.build(x.shape)
    table = {
        "normal": draw(9, 9),
        "large": 1e4 * draw(9, 9),
        "causal": np.where(np.tril(np.ones((9, 9))), 0.0, -1e9).astype("float32"),
    }[bias]
    layer.position_bias.assign(table)
    output, (gradient,), weight_gradients = value_and_gradients(layer, [x])
    np.testing.assert_allclose(output, aft(layer, x, table.astype("float64")), atol=1e-4)
    for large in (gradient, *weight_gradients):
        assert np.isfinite(large).all()
    output, (gradient,), weight_gradients = value_and_gradients(layer, [1e4 * x])
    for large in (output, gradient, *weight_gradients):
        assert np.isfinite(large).all()


@pytest.mark.parametrize("names", [("conv_h", "conv_w"), ("conv2", "conv3")])
def test_coordinate_attention_loads_both_namings(names):
    layer = layers.CoordinateAttention(reduction=1)
    layer.build((None, 4, 5, 8))
    shapes = {"conv1": 8, names[0]: 8, names[1]: 8}
    state = {f"{name}.weight": draw(8, width, 1, 1) for name, width in shapes.items()}
    state |= {f"{name}.bias": draw(8) for name in shapes}
    state |= {f"bn1.{name}": draw(8) for name in ("weight", "bias", "running_mean")}
    state["bn1.running_var"] = np.ones(8)
    load_torch_weights(layer, state)
    np.testing.assert_array_equal(numpy(layer.excite_rows.bias), state[f"{names[0]}.bias"])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_parnet_fuses(data_format, tmp_path):
    layer = layers.ParNetAttention(activation="relu", data_format=data_format)
    x = draw(2, 8, 8, 8)
    layer(x)
    randomize(layer)
    fused = layer.fuse()
    np.testing.assert_allclose(numpy(fused(x)), numpy(layer(x)), atol=2e-5)
    assert fused.count_params() < layer.count_params()

    inputs = keras.Input((8, 8, 8))
    model = keras.Model(inputs, fused(inputs))
    model.save(tmp_path / "fused.keras")
    reloaded = keras.saving.load_model(tmp_path / "fused.keras")
    np.testing.assert_allclose(numpy(reloaded(x)), numpy(fused(x)), atol=1e-6)

    state = {name: draw(8, seed=2) for name in ("rbr_dense.bias", "rbr_identity.weight")}
    state |= {name: draw(8) for name in ("rbr_identity.bias", "rbr_identity.running_mean")}
    state |= {"rbr_identity.running_var": np.ones(8), "rbr_dense.weight": draw(8, 8, 3, 3)}
    load_torch_weights(fused, {**state, "se.cvsig.conv.weight": draw(8, 8, 1, 1)})
    with pytest.raises(ValueError, match="built"):
        layers.ParNetAttention().fuse()


def test_parnet_keeps_its_settings_and_its_norm_when_it_is_fused():
    layer = layers.ParNetAttention(dtype="mixed_float16", trainable=False, name="block")
    layer(draw(2, 4, 4, 8))
    randomize(layer)
    fused = layer.fuse()
    assert fused.name == "block_fused"
    assert fused.dtype_policy == layer.dtype_policy
    assert fused.trainable is False
    assert fused.fuse() is fused
    for name in ("norm", "gate"):
        ours, theirs = getattr(layer, name).weights, getattr(fused, name).weights
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(numpy(one), numpy(other))
            assert one.value is not other.value  # training on JAX donates the values


@pytest.mark.parametrize(
    "config",
    [
        {"block_size": 2, "halo_size": 3, "scale_pos_embed": True},
        {"block_size": 2, "halo_size": 0, "mask_padding": True},
        {"block_size": 1, "halo_size": 1, "key_dim": 3, "output_dim": 6, "qkv_bias": True},
        {"block_size": 4, "halo_size": 1, "mask_padding": True, "scale_pos_embed": True},
    ],
    ids=str,
)
def test_halo_attention_pixel_by_pixel(config):
    layer, x = layers.HaloAttention(num_heads=2, **config), draw(1, 4, 4, 8)
    layer.build(x.shape)
    randomize(layer)
    b, h = layer.block_size, layer.halo_size
    heads, d = 2, layer._key_width

    def dense(one):
        bias = numpy(one.bias) if one.use_bias else 0.0
        return (x[0].astype("float64") @ numpy(one.kernel) + bias).reshape(4, 4, heads, -1)

    q, kv = dense(layer.query), dense(layer.key_value)
    rows, columns = numpy(layer.rows), numpy(layer.columns)
    expected = np.zeros((4, 4, heads, kv.shape[-1] - d))
    for i, j, head in np.ndindex(4, 4, heads):
        scores, values = [], []
        top, left = i // b * b - h, j // b * b - h
        for r, c in np.ndindex(b + 2 * h, b + 2 * h):
            inside = 0 <= top + r < 4 and 0 <= left + c < 4
            if layer.mask_padding and not inside:
                continue
            pair = kv[top + r, left + c, head] if inside else np.zeros(kv.shape[-1])
            # Offsets are counted within the window, whose first pixel has the block's place 0.
            place = rows[r - i % b + b + 2 * h - 1] + columns[c - j % b + b + 2 * h - 1]
            scale = d**-0.5
            position = q[i, j, head] @ place * (scale if layer.scale_pos_embed else 1.0)
            scores.append(q[i, j, head] @ pair[:d] * scale + position)
            values.append(pair[d:])
        weights = np.exp(np.array(scores) - max(scores))
        expected[i, j, head] = weights @ np.array(values) / weights.sum()
    np.testing.assert_allclose(numpy(layer(x))[0], expected.reshape(4, 4, -1), atol=1e-4)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"group_size": 3, "interval": 2}, (7, 5)),
        ({"group_size": 2, "interval": 3}, (6, 12)),
        ({"group_size": 3}, (4, 7)),
        ({"group_size": 5, "interval": 2}, (4, 7)),
    ],
    ids=str,
)
def test_cross_former_attention_pixel_by_pixel(config, size):
    """The map too: which positions form a group, and where it stands among the groups."""
    layer = layers.CrossFormerAttention(num_heads=2, data_format="channels_last", **config)
    x = draw(1, *size, 32)
    layer.build(x.shape)
    randomize(layer)
    short = min(size) <= layer.group_size
    side = min(size) if short else layer.group_size
    apart = 1 if short or layer.interval is None else layer.interval
    query, key, value = (
        (x[0] @ numpy(one.kernel) + numpy(one.bias)).reshape(*size, 2, 16)
        for one in (layer.query, layer.key, layer.value)
    )

    def bias(row, column):
        y = np.array([row, column], "float32") @ numpy(layer.bias_in.kernel)
        y = y + numpy(layer.bias_in.bias)
        for norm, linear in zip(layer.bias_norms, layer.bias_maps, strict=True):
            y = (y - y.mean()) / np.sqrt(y.var() + 1e-5) * numpy(norm.gamma) + numpy(norm.beta)
            y = np.maximum(y, 0) @ numpy(linear.kernel) + numpy(linear.bias)
        return y

    block = side * apart
    columns = -(-size[1] // block)
    output, attention = map(numpy, layer(x, return_attention_scores=True))
    joined, weights = np.zeros((*size, 2, 16)), np.zeros(attention.shape[1:])
    for i, j, head in np.ndindex(*size, 2):
        first = i // block * block + i % apart, j // block * block + j % apart
        scores = {}
        for r, c in np.ndindex(side, side):
            row, column = first[0] + r * apart, first[1] + c * apart
            if row < size[0] and column < size[1]:
                offset = (i - row) // apart, (j - column) // apart
                scores[r, c] = query[i, j, head] @ key[row, column, head] / 4 + bias(*offset)[head]
        total = sum(np.exp(score) for score in scores.values())
        group = (i // block * columns + j // block) * apart**2 + i % apart * apart + j % apart
        own = (i - first[0]) // apart * side + (j - first[1]) // apart
        for (r, c), score in scores.items():
            weight = np.exp(score) / total
            weights[head, group, own, r * side + c] = weight
            place = first[0] + r * apart, first[1] + c * apart
            joined[i, j, head] += weight * value[(*place, head)]
    expected = joined.reshape(*size, 32) @ numpy(layer.project.kernel) + numpy(layer.project.bias)
    np.testing.assert_allclose(output[0], expected, atol=1e-4)
    inside = weights.sum(-1, keepdims=True) > 0  # of a query in the padding nothing is said
    np.testing.assert_allclose(attention[0] * inside, weights, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel_size", "strides", "size"), [(3, 2, (4, 6)), (5, 3, (6, 3)), (1, 1, (1, 4))]
)
def test_acmix_pixel_by_pixel(kernel_size, strides, size):
    """The map too, which no vector holds; the parts are added as the channels come."""
    layer = layers.ACmix(
        2, output_dim=6, kernel_size=kernel_size, strides=strides, data_format="channels_last"
    )
    x = draw(1, *size, 8)
    layer.build(x.shape)
    randomize(layer)
    query, key, value = (
        (x[0] @ numpy(one.kernel) + numpy(one.bias)).reshape(*size, 2, 3)
        for one in (layer.query, layer.key, layer.value)
    )
    rows, columns = (np.linspace(-1, 1, length) for length in size)
    place = np.stack(np.meshgrid(columns, rows), axis=2) @ numpy(layer.position.kernel)
    around = np.arange(kernel_size) - kernel_size // 2

    def mirrored(position, length):
        position = abs(position)
        return position if position < length else 2 * (length - 1) - position

    joint = np.concatenate([query, key, value], axis=2)  # (H, W, 3 * heads, d)
    joint = np.einsum("hwjd,jt->hwdt", joint, numpy(layer.join.kernel))
    joint = np.pad(joint, ((1, 1), (1, 1), (0, 0), (0, 0)))
    kernel = numpy(layer.shift.kernel).reshape(3, 3, 9, 3, 2)  # channel of a head, then head
    output, attention = map(numpy, layer(x, return_attention_scores=True))
    heights, widths = range(0, size[0], strides), range(0, size[1], strides)
    for number, (i, j) in enumerate((i, j) for i in heights for j in widths):
        convolved = np.einsum("rcdt,rctdh->dh", joint[i : i + 3, j : j + 3], kernel).reshape(-1)
        attended = []
        for head in range(2):
            window = [
                (mirrored(i + r, size[0]), mirrored(j + c, size[1])) for r in around for c in around
            ]
            scores = [
                query[i, j, head] @ (key[(*one, head)] + place[i, j] - place[one]) / np.sqrt(3)
                for one in window
            ]
            weights = np.exp(np.array(scores) - max(scores))
            weights /= weights.sum()
            np.testing.assert_allclose(attention[0, head, number], weights, atol=1e-5)
            attended.append(
                sum(w * value[(*one, head)] for w, one in zip(weights, window, strict=True))
            )
        expected = np.concatenate(attended) * numpy(layer.attention_rate)
        expected = expected + convolved * numpy(layer.convolution_rate)
        np.testing.assert_allclose(output[0, i // strides, j // strides], expected, atol=1e-4)


@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 3), (5, 2), (1, 2), (3, 4)])
def test_outlook_attention_pixel_by_pixel(kernel_size, strides):
    layer = layers.OutlookAttention(2, kernel_size=kernel_size, strides=strides)
    x = draw(1, 7, 5, 8)
    layer.build(x.shape)
    randomize(layer)
    k, heads = kernel_size, 2
    image = x[0].astype("float64")
    v = (image @ numpy(layer.value.kernel)).reshape(7, 5, heads, 4)
    folded = np.zeros((7, 5, heads, 4))
    for i, j, head in np.ndindex(-(-7 // strides), -(-5 // strides), heads):
        corner = image[i * strides : (i + 1) * strides, j * strides : (j + 1) * strides]
        scores = corner.mean((0, 1)) @ numpy(layer.attention.kernel) + numpy(layer.attention.bias)
        scores = scores.reshape(heads, k * k, k * k)[head] * 4**-0.5
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        places = [(i * strides + r - k // 2, j * strides + c - k // 2) for r, c in np.ndindex(k, k)]
        known = [0 <= r < 7 and 0 <= c < 5 for r, c in places]
        values = np.array(
            [v[p][head] if ok else np.zeros(4) for p, ok in zip(places, known, strict=True)]
        )
        for place, ok, mixed in zip(places, known, weights @ values, strict=True):
            if ok:
                folded[place][head] += mixed
    expected = folded.reshape(7, 5, 8) @ numpy(layer.project.kernel) + numpy(layer.project.bias)
    np.testing.assert_allclose(numpy(layer(x))[0], expected, atol=1e-4)


def test_cot_is_as_wide_as_the_authors_layer():
    """A quarter of 2 C to weight the contexts, at least 32; no bias before a norm."""
    layer = layers.CoTAttention()
    layer.build((None, 7, 7, 136))
    assert layer.squeeze.kernel.shape == (136, 68)
    assert [weight.name for weight in layer.static.weights] == ["kernel"]


@pytest.mark.parametrize(("dtype", "largest"), [("float16", 65504.0), ("float32", 9e4)])
def test_separable_attention_saturates_in_float16_alone(dtype, largest):
    """relu(value) * context is 9e4 here, more than float16 holds; so is its projection by 2."""
    layer, x = layers.SeparableSelfAttention(use_bias=False, dtype=dtype), np.ones((1, 5, 2))
    layer.build(x.shape)
    for one, factor in ((layer.value, 300.0), (layer.key, 300.0), (layer.project, 1e-3)):
        one.kernel.assign(factor * np.eye(2))
    np.testing.assert_allclose(numpy(layer(x)), 1e-3 * largest, rtol=2e-3)
    layer.project.kernel.assign(2 * np.eye(2))
    expected = largest if dtype == "float16" else 2 * largest
    np.testing.assert_allclose(numpy(layer(x)), expected, rtol=2e-3)


def test_batch_normalization_keeps_moving_statistics():
    """Each batch moves the statistics by a tenth; later calls use them."""
    norm = BatchNormalization()
    x = 3 + 2 * draw(4, 5, 6, 8)
    mean, variance = np.zeros(8), np.ones(8)
    for batch in (x, 2 * x):
        norm(batch, training=True)
        mean = 0.9 * mean + 0.1 * batch.mean((0, 1, 2))
        variance = 0.9 * variance + 0.1 * batch.var((0, 1, 2))
    np.testing.assert_allclose(numpy(norm.moving_mean), mean, rtol=1e-5)
    np.testing.assert_allclose(numpy(norm.moving_variance), variance, rtol=1e-5)
    expected = (x - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(numpy(norm(x, training=False)), expected, atol=1e-5)


@pytest.mark.parametrize("ratio", [2, 3, 4, 5])
@pytest.mark.parametrize("size", [(7, 10), (12, 15)])
def test_spatial_reduction_pads_by_half_its_stride(ratio, size):
    """A kernel of s + 1, stride s, zeros of s // 2 on each side, by loops over the kernel."""
    layer = layers.EfficientMultiHeadSelfAttention(2, sr_ratio=ratio)
    x = draw(2, *size, 4)
    layer(x)
    kernel, bias = draw(ratio + 1, ratio + 1, 1, 4), draw(4)
    layer.reduce.set_weights([kernel, bias])
    border = ratio // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    height, width = ((length + 2 * border - ratio - 1) // ratio + 1 for length in size)
    expected = np.zeros((2, height, width, 4)) + bias
    for row, column in np.ndindex(ratio + 1, ratio + 1):
        part = padded[:, row::ratio, column::ratio][:, :height, :width]
        expected += part * kernel[row, column, 0]
    np.testing.assert_allclose(numpy(layer.reduce(x)), expected, rtol=1e-4, atol=1e-5)


WITH_DROPOUT = [case for case in CASES if "dropout" in signature(case.cls).parameters]


@pytest.mark.parametrize("case", WITH_DROPOUT, ids=lambda case: case.id)
def test_dropout_acts_in_training_alone(case):
    """Every dropout layer within does: nearly all is dropped, and each draw differs."""
    keras.utils.set_random_seed(0)
    layer = case.cls(**case.config | {"dropout": 0.8})
    x = case.draw()
    layer(x)
    randomize(layer)
    np.testing.assert_array_equal(numpy(layer(x)), numpy(layer(x, training=False)))
    first, second = numpy(layer(x, training=True)), numpy(layer(x, training=True))
    assert np.abs(first - second).max() > 1e-4
    parts = [one for one in layer._flatten_layers() if isinstance(one, keras.layers.Dropout)]
    drops = [one for one in parts if one.rate]
    assert drops
    for one in drops:
        one.rate = 0.0
    for one in drops:  # alone, each of them acts
        one.rate = 0.8
        first, second = numpy(layer(x, training=True)), numpy(layer(x, training=True))
        assert np.abs(first - second).max() > 1e-5, one.path
        one.rate = 0.0


MOMENTUM = {"CBAM": 0.99, "TripletAttention": 0.99}
"""Of the moving statistics, where it is not PyTorch's 0.9."""


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.id)
def test_momentum_of_moving_statistics(case):
    layer = case.make()
    layer.build(case.shape)
    norms = [one for one in layer._flatten_layers() if isinstance(one, BatchNormalization)]
    assert {one.momentum for one in norms} <= {MOMENTUM.get(case.layer, 0.9)}


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize(("tokens", "sides"), [(36, None), (12, (3, 4))])
def test_shape_of_the_map_over_a_reduced_image(ratio, tokens, sides):
    layer = layers.EfficientMultiHeadSelfAttention(2, sr_ratio=ratio)
    x = draw(2, tokens, 4)
    _, attention = layer(x, spatial_shape=sides, return_attention_scores=True)
    assert layer.compute_attention_shape(x.shape, sides) == tuple(attention.shape)


def test_a_bound_is_named_only_where_there_is_one():
    with pytest.raises(ValueError, match=r"must be a finite number\. Received: scale=nan"):
        checks.number(layers.SEAttention(), "scale", float("nan"))
    with pytest.raises(ValueError, match=r"must be a finite number >= 2\. Received: scale=1"):
        checks.number(layers.SEAttention(), "scale", 1, 2)


@pytest.mark.parametrize("use_scale", [True, False])
def test_non_local_attention_gives_timms_numbers_with_timms_weights(use_scale):
    """There the scores are divided by the square root of all channels, not of the inner ones."""
    layer, x = layers.NonLocalAttention(4, use_scale=use_scale), draw(1, 3, 2, 8)
    layer.build(x.shape)
    width = {"t": (2, 8), "p": (2, 8), "g": (2, 8), "z": (8, 2)}
    state = {f"{name}.weight": draw(*shape, 1, 1, seed=1) for name, shape in width.items()}
    state |= {f"{name}.bias": draw(shape[0], seed=2) for name, shape in width.items()}
    state |= {f"norm.{name}": draw(8, seed=3) for name in ("weight", "bias", "running_mean")}
    load_torch_weights(layer, state | {"norm.running_var": np.full(8, 4.0 - 1e-5)})

    positions = x.reshape(6, 8).astype("float64")
    t, p, g = (
        positions @ state[f"{name}.weight"][..., 0, 0].T + state[f"{name}.bias"] for name in "tpg"
    )
    scores = np.exp(t @ p.T * (8**-0.5 if use_scale else 1.0))
    mixed = scores / scores.sum(-1, keepdims=True) @ g
    mixed = mixed @ state["z.weight"][..., 0, 0].T + state["z.bias"] - state["norm.running_mean"]
    expected = positions + mixed / 2 * state["norm.weight"] + state["norm.bias"]
    np.testing.assert_allclose(numpy(layer(x)).reshape(6, 8), expected, atol=2e-5)


def test_non_local_attention_of_one_position_or_one_window():
    """One key has all the attention."""
    for size, config in (((1, 1), {}), ((3, 2), {"pool_size": 2})):
        layer, x = layers.NonLocalAttention(**config), draw(1, *size, 8)
        _, attention = layer(x, return_attention_scores=True)
        np.testing.assert_array_equal(numpy(attention), np.ones((1, 1, size[0] * size[1], 1)))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (3, 4)])
def test_criss_cross_attention_position_by_position(size):
    layer, x = layers.CrissCrossAttention(2, recurrence=2), draw(1, *size, 8)
    layer.build(x.shape)
    randomize(layer)
    output, maps = layer(x, return_attention_scores=True)
    image, height = x[0].astype("float64"), size[0]
    for found in maps:
        q, k, v = (
            image @ numpy(one.kernel) + numpy(one.bias)
            for one in (layer.query, layer.key, layer.value)
        )
        summed = np.zeros_like(image)
        for number, (i, j) in enumerate(np.ndindex(*size)):
            cross = [(r, j) for r in range(height) if r != i] + [(i, c) for c in range(size[1])]
            weights = np.exp([k[place] @ q[i, j] for place in cross])
            weights /= weights.sum()
            summed[i, j] = sum(a * v[place] for a, place in zip(weights, cross, strict=True))
            expected = np.insert(weights, i, 0)  # the position itself is in its row
            np.testing.assert_allclose(numpy(found)[0, 0, number], expected, atol=1e-5)
        image = image + numpy(layer.gamma) * summed
    np.testing.assert_allclose(numpy(output)[0], image, atol=5e-5)


def test_criss_cross_attention_has_no_matrix_of_all_pairs():
    size = 96
    found = count(layers.CrissCrossAttention(data_format="channels_last"), (1, size, size, 8))
    assert found.saved_bytes < size**4  # one such matrix has four bytes for each pair


def test_bilinear_attention_drops_whole_channels():
    layer, x = layers.BilinearAttention(block_size=2, dropout=0.5), draw(4, 4, 4, 64)
    added = numpy(layer(x, training=True)) - x
    channels = np.abs(added).max((1, 2)) == 0  # a relu alone may leave all of a channel at zero
    kept = np.abs(numpy(layers.BilinearAttention(block_size=2)(x, training=True)) - x).max((1, 2))
    assert (kept == 0).mean() < 0.1
    assert 0.4 < channels.mean() < 0.6


def test_bilinear_attention_divides_by_sums_that_underflow():
    """Sigmoids of -200 are 0 in float32; they still have proportions."""
    layer, x = layers.BilinearAttention(block_size=2), draw(2, 4, 4, 8)
    layer.build(x.shape)
    for one in (layer.rows, layer.columns):
        one.bias.assign(np.full(one.bias.shape, -200.0))
    _, (rows, columns) = layer(x, return_attention_scores=True)
    np.testing.assert_allclose(numpy(rows).sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(numpy(columns).sum(-2), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "default"),
    [
        (layers.EfficientMultiHeadSelfAttention, "width"),
        (layers.LinearAttention, "width"),
        (layers.ScaledDotProductAttention, "key_dim"),
        (layers.UFOAttention, "key_dim"),
    ],
)
@pytest.mark.parametrize(
    "given", [{}, {"key_dim": 5}, {"value_dim": 3}, {"key_dim": 5, "value_dim": 3}]
)
def test_widths_of_keys_and_values(make, default, given):
    """Each may be given alone; the other has its default, C // num_heads or the keys' width."""
    layer = make(2, **given)
    output = layer(
        draw(1, 4, 4, 8) if make is layers.EfficientMultiHeadSelfAttention else draw(1, 9, 8)
    )
    keys = given.get("key_dim", 4)
    values = given.get("value_dim", keys if default == "key_dim" else 4)
    assert output.shape[-1] == 8
    assert layer.query.kernel.shape == (8, 2 * keys)
    assert layer.project.kernel.shape == (2 * values, 8)


def test_sides_of_the_network_of_the_offsets():
    for side in (3, 5, 7, 9):
        assert layers.DeformableAttention(kernel_size=side, grid="centers").kernel_size == side
    for side in (1, 4, 8, 11):
        with pytest.raises(ValueError, match=rf"kernel_size=?.*{side}"):
            layers.DeformableAttention(kernel_size=side, grid="centers")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_fixed_size_is_that_of_the_build(data_format):
    """Neither another height nor another width is taken, and both are named."""
    layer = layers.RelativeSelfAttention(2, data_format=data_format)

    def image(height, width):
        return (height, width, 8) if data_format == "channels_last" else (8, height, width)

    layer.build((None, *image(4, 6)))
    layer(draw(1, *image(4, 6)))
    for size in ((5, 6), (4, 7), (6, 4)):
        with pytest.raises(ValueError, match="shape"):
            layer(draw(1, *image(*size)))


@pytest.mark.parametrize(("side", "size"), [(2, (7, 8)), (3, (8, 13)), (4, (9, 13))])
def test_the_offsets_of_patches_have_no_padding(side, size):
    """With a kernel as large as its strides, rows and columns that no patch holds are left out."""
    layer = layers.DeformableAttention(
        2, groups=1, kernel_size=side, strides=side, data_format="channels_last"
    )
    layer.build((None, *size, 4))
    x, kernel = draw(2, *size, 4), draw(*layer.near.kernel.shape, seed=1)
    layer.near.kernel.assign(kernel)
    layer.near.bias.assign(np.zeros(4))
    rows, columns = (length // side for length in size)
    whole = x[:, : rows * side, : columns * side].reshape(2, rows, side, columns, side, 4)
    expected = np.einsum("bricjx,ijx->brcx", whole, kernel[:, :, 0])
    np.testing.assert_allclose(numpy(layer.near(x)), expected, atol=1e-5)


def test_the_squeezed_width_of_mbconv_is_at_least_one():
    layer = layers.MBConv(8, se_ratio=0.01)
    layer.build((None, 4, 4, 8))
    assert layer.squeeze.kernel.shape[-1] == 1


def test_a_strided_mbconv_takes_an_image_of_unknown_size():
    layer = layers.MBConv(8, strides=2, data_format="channels_last")
    assert layer(keras.Input((None, None, 4))).shape == (None, None, None, 8)
    for size in ((5, 4), (4, 5)):
        with pytest.raises(ValueError, match="must be even"):
            layers.MBConv(8, strides=2, data_format="channels_last")(keras.Input((*size, 4)))


def test_each_pooling_of_cbam():
    """One by one: the layer adds them up, and would not tell one from the other."""
    x = draw(2, 3, 4, 5)
    expected = {
        "avg": x.mean((1, 2)),
        "max": x.max((1, 2)),
        "lp": np.sqrt(np.square(x).sum((1, 2))),
        "lse": np.log(np.exp(x).sum((1, 2))),
    }
    for kind, values in expected.items():
        found = numpy(pool(keras.ops.convert_to_tensor(x), kind))
        np.testing.assert_allclose(found[:, 0, 0], values, rtol=1e-5, err_msg=kind)


def test_the_maps_of_differential_attention_are_subtracted_in_float32(monkeypatch):
    layer, seen = layers.DifferentialAttention(2, dropout=0.5, dtype="mixed_bfloat16"), []
    subtract = layer._difference
    monkeypatch.setattr(
        layer, "_difference", lambda both: seen.append(both.dtype) or subtract(both)
    )
    layer(draw(1, 3, 8), training=True)
    assert [keras.backend.standardize_dtype(one) for one in seen] == ["float32"]


def test_spectra_are_in_float32():
    seen = []
    x = keras.ops.cast(draw(1, 4, 6, 3), "bfloat16")
    filter_spectrum(x, draw(4, 4, 3, 2), lambda *given: seen.extend(given) or given[0])
    assert [keras.backend.standardize_dtype(one.dtype) for one in seen] == ["float32"] * 2


def test_the_width_of_mobilevit_v2_gives_a_hidden_width_of_its_own():
    """A multiple of 8 that is made of it; where it is given, any width will do."""
    assert layers.MobileViTv2Block(8).ffn_dim is None
    assert layers.MobileViTv2Block(4, ffn_dim=6).ffn_dim == 6
    with pytest.raises(ValueError, match=r"transformer_dim.*4"):
        layers.MobileViTv2Block(4)
