"""Single mechanisms, where the reference vectors and the generic tests do not reach."""

import keras
import numpy as np
import pytest
from attn_core import layers, load_torch_weights
from attn_core.ops.spectra import filter_spectrum
from gradients import value_and_gradients
from test_layers import numpy, randomize


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


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


def aft(layer, x, bias):
    """AFT-full in float64, with an N x N x C tensor."""
    dense = (layer.query, layer.key, layer.value)
    q, k, v = (x.astype("float64") @ numpy(d.kernel) + numpy(d.bias) for d in dense)
    z = k[:, None] + bias[None, :, :, None]
    weights = np.exp(z - z.max(axis=2, keepdims=True))
    return (weights * v[:, None]).sum(2) / weights.sum(2) / (1 + np.exp(-q))


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
    heads, d = 2, layer.key_width

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
