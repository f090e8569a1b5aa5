"""Each way to compute an operation gives the numbers of the others, on images of unequal sides."""

import keras
import numpy as np
import pytest
from attn_core._ops import (
    activations,
    attention,
    convolution,
    groups,
    lowering,
    pooling,
    precision,
    spectra,
)
from attn_core._ops.convolution import conv2d
from attn_core._ops.maxima import maximum
from attn_core.layers import LambdaAttention, _normalization
from attn_core.layers._convolution import Conv1D, Conv2D, Conv3D
from attn_core.layers._dense import Dense
from attn_core.layers._normalization import BatchNormalization, LayerNormalization
from attn_core.layers.maps import _lambda
from gradients import value_and_gradients
from keras import ops

BACKEND = keras.config.backend()


def draw(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def by_hand(x, kernel, strides, dilation):
    """Return the convolution over any number of axes, by loops over the kernel and the groups."""
    *taps, width, filters = kernel.shape
    groups, size = x.shape[-1] // width, x.shape[1:-1]
    reach = [d * (k // 2) for k, d in zip(taps, dilation, strict=True)]
    padded = np.pad(x.astype("float64"), [(0, 0), *((r, r) for r in reach), (0, 0)])
    each = filters // groups
    output = np.zeros((*x.shape[:-1], filters))
    for tap in np.ndindex(*taps):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        window = [slice(start, start + n) for start, n in zip(starts, size, strict=True)]
        part = padded[(slice(None), *window)]
        for group in range(groups):
            inside = slice(group * width, (group + 1) * width)
            outside = slice(group * each, (group + 1) * each)
            output[..., outside] += part[..., inside] @ kernel[tap][:, outside]
    return output[(slice(None), *(slice(None, None, stride) for stride in strides))]


@pytest.mark.every_backend
@pytest.mark.parametrize("own", [True, False], ids=["as lowered", "as Keras computes"])
@pytest.mark.parametrize(
    ("strides", "dilation"),
    [((1, 1), (1, 1)), ((2, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 1))],
)
@pytest.mark.parametrize(
    ("channels", "kernel"),
    [
        (4, (3, 5, 4, 6)),
        (2, (5, 3, 2, 1)),
        (6, (3, 5, 6, 1)),
        (4, (5, 3, 1, 4)),
        (6, (3, 5, 2, 9)),
        (6, (3, 5, 2, 3)),
        (24, (3, 3, 2, 96)),
    ],
    ids=[
        "dense",
        "one filter of 2",
        "one filter of 6",
        "depthwise",
        "grouped",
        "one a group",
        "many groups",
    ],
)
def test_convolutions(channels, kernel, strides, dilation, own, monkeypatch):
    if BACKEND == "tensorflow" and kernel[2] == 1 and strides[0] != strides[1]:
        pytest.skip("TensorFlow's depthwise convolution takes equal strides only")
    for decision in () if own else ("jax_on_cpu", "on_torch", "splits_groups"):
        monkeypatch.setattr(convolution, decision, lambda: False)
    x, kernel = draw(2, 7, 10, channels), draw(*kernel)
    expected = by_hand(x, kernel, strides, dilation)
    output = ops.convert_to_numpy(conv2d(ops.array(x), ops.array(kernel), strides, dilation))
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("own", [True, False], ids=["as lowered", "as Keras computes"])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilation"),
    [
        ((5, 4, 6), (1,), (2,)),
        ((5, 2, 1), (1,), (1,)),
        ((5, 1, 4), (2,), (1,)),
        ((3, 5, 1, 4, 6), (1, 1, 1), (2, 1, 2)),
        ((3, 1, 5, 2, 1), (1, 1, 1), (1, 1, 1)),
        ((3, 3, 5, 4, 2), (2, 2, 2), (1, 1, 1)),
    ],
    ids=str,
)
def test_convolutions_of_signals_and_volumes(kernel, strides, dilation, own, monkeypatch):
    """With the gradients, which each backend computes by other code than the output."""
    for decision in () if own else ("jax_on_cpu", "on_torch", "splits_groups"):
        monkeypatch.setattr(convolution, decision, lambda: False)
    channels = kernel[-2] * (4 if len(kernel) == 3 and kernel[-2] == 1 else 1)
    kind, size = (Conv1D, (9,)) if len(kernel) == 3 else (Conv3D, (4, 6, 5))
    layer = kind(
        kernel[-1],
        kernel[:-2],
        groups=channels // kernel[-2],
        strides=strides,
        dilation_rate=dilation,
        use_bias=False,
    )
    x, weights, shift = draw(2, *size, channels), draw(*kernel), draw(*kernel, 1)[..., 0]
    layer.build(x.shape)
    layer.kernel.assign(weights)
    expected = by_hand(x, weights, strides, dilation)
    output, (inner,), (outer,) = value_and_gradients(layer, [x], np.ones(expected.shape, "float32"))
    assert output.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    # The sum of the outputs is linear in the inputs, and in the kernel.
    np.testing.assert_allclose(np.sum(inner * x), expected.sum(), rtol=1e-3, atol=1e-3)
    moved = by_hand(x, shift, strides, dilation).sum()
    np.testing.assert_allclose(np.sum(outer * shift), moved, rtol=1e-3, atol=1e-3)


@pytest.mark.every_backend
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize(
    ("channels", "kernel"),
    [(4, (3, 5, 4, 1)), (4, (5, 3, 1, 4)), (6, (3, 5, 2, 9)), (24, (3, 3, 2, 96))],
    ids=["one filter", "depthwise", "grouped", "many groups"],
)
def test_gradients_of_convolutions(channels, kernel, dilation, monkeypatch):
    """Those of the image and of the kernel, as lowered and as Keras computes."""
    found = []
    for own in (True, False):
        for decision in () if own else ("jax_on_cpu", "on_torch", "splits_groups"):
            monkeypatch.setattr(convolution, decision, lambda: False)
        layer = Conv2D(kernel[-1], kernel[:2], groups=channels // kernel[2], dilation_rate=dilation)
        x, cotangent = draw(2, 7, 10, channels), draw(2, 7, 10, kernel[-1])
        layer.build(x.shape)
        layer.kernel.assign(draw(*kernel))
        _, (inner,), weights = value_and_gradients(layer, [x], cotangent)
        found.append([inner, *weights])
    for ours, kerass in zip(*found, strict=True):
        np.testing.assert_allclose(ours, kerass, rtol=1e-4, atol=1e-4)


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND != "jax", reason="a primitive of JAX")
def test_higher_derivatives_of_the_depthwise_primitive():
    """Forward mode, second derivatives and `vmap`, against JAX's own convolution."""
    import jax
    from attn_core._ops.kernels_jax import depthwise

    x, kernel = ops.array(draw(2, 7, 10, 3)), ops.array(draw(3, 5, 1, 3))

    def native(x, kernel, strides, dilation):
        padding = [(d * (k // 2),) * 2 for d, k in zip(dilation, kernel.shape, strict=False)]
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, strides, padding, rhs_dilation=dilation, dimension_numbers=numbers,
            feature_group_count=x.shape[-1],
        )  # fmt: skip

    for dilation in ((1, 1), (2, 3)):
        results = []
        for convolve in (depthwise, native):

            def loss(x, kernel, convolve=convolve, dilation=dilation):
                return (convolve(x, kernel, (1, 1), dilation) ** 3).mean()

            def penalty(x, kernel, loss=loss):
                first, second = jax.grad(loss, (0, 1))(x, kernel)
                return (first**2).sum() + (second**2).sum()

            results.append(
                [
                    jax.jvp(loss, (x, kernel), (x, kernel))[1],
                    *jax.grad(penalty, (0, 1))(x, kernel),
                    jax.jit(jax.jacfwd(jax.grad(loss, 1), 1))(x, kernel),
                    jax.vmap(jax.grad(loss, 1), (0, None))(x[:, None], kernel),
                ]
            )
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(
                ours, theirs, rtol=1e-4, atol=1e-5 * float(abs(theirs).max())
            )


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND != "jax", reason="primitives of JAX")
@pytest.mark.parametrize("training", [False, True])
def test_without_a_gradient_no_primitive_of_ours_is_used(training):
    """Exporters do not know them."""
    import jax
    from attn_core._ops.streams import stream

    layer = Conv2D(3, 3, groups=3)
    layer.build((None, None, None, 3))

    def run(x):
        return stream(layer(x)).sum()

    traced = jax.make_jaxpr(jax.grad(run) if training else run)(ops.array(draw(2, 7, 10, 3)))
    assert ("attn_core" in str(traced)) == training


@pytest.mark.parametrize("mask", [None, (3, 5), (2, 3, 5), (2, 2, 3, 5)])
@pytest.mark.parametrize("bias", [None, (2, 3, 5)])
def test_fused_attention_and_explicit(mask, bias, monkeypatch):
    query, key, value = draw(2, 3, 2, 4), draw(2, 5, 2, 4), draw(2, 5, 2, 4)
    options = {"bias": None if bias is None else ops.array(draw(*bias))}
    if mask is not None:
        options["mask"] = ops.array(draw(*mask) > 0)
    outputs = []
    for fused in (True, False):
        monkeypatch.setattr(attention, "uses_fused_attention", lambda fused=fused: fused)
        output, _ = attention.attend(*map(ops.array, (query, key, value)), scale=0.7, **options)
        outputs.append(ops.convert_to_numpy(output))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "exact", "expected"),
    [
        (32, 32, True, "by_matrices"),
        (33, 2, True, "by_fft"),
        (2, 33, True, "by_fft"),
        (4, 4, False, "by_fft"),
    ],
)
def test_small_images_are_filtered_by_matrices(height, width, exact, expected, monkeypatch):
    taken = []
    monkeypatch.setattr(spectra, "exact_products", lambda: exact)
    for name in ("by_matrices", "by_fft"):
        monkeypatch.setattr(spectra, name, lambda x, s, name=name: taken.append(name) or x)
    x, spectrum = draw(1, height, width, 1), draw(height, width // 2 + 1, 1, 2)
    spectra.filter_spectrum(ops.array(x), ops.array(spectrum))
    assert taken == [expected]


@pytest.mark.parametrize("size", [(5, 6), (6, 5), (1, 4)])
def test_both_filters_agree(size):
    x, spectrum = ops.array(draw(2, *size, 3)), ops.array(draw(size[0], size[1] // 2 + 1, 3, 2))
    first, second = (
        ops.convert_to_numpy(spectra.filter_spectrum(x, spectrum, way))
        for way in (spectra.by_matrices, spectra.by_fft)
    )
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND != "jax", reason="a primitive of JAX")
def test_the_gradient_of_a_stream_is_not_fused():
    """The boundary changes no number, and XLA's compiler keeps it."""
    import jax
    from attn_core._ops.streams import stream

    def loss(x, pass_on):
        for _ in range(3):
            x = pass_on(x)
            x = x + ops.tanh(x)
        return (x**2).mean()

    x = ops.array(draw(2, 5, 4))
    for transform in (jax.grad, jax.jacfwd, lambda f: jax.vmap(jax.grad(f)), jax.hessian):
        ours, plain = (
            transform(lambda x, one=one: loss(x, one))(x) for one in (stream, lambda x: x)
        )
        np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-6)
    assert jax.grad(lambda x: stream(x).sum())(ops.zeros((0, 3))).shape == (0, 3)
    program = jax.jit(jax.grad(lambda x: loss(x, stream))).lower(x).compile().as_text()
    assert program.count(" conditional(") >= 2


@pytest.mark.every_backend
@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_maximum(axis, keepdims):
    """Its value is that of Keras; a single maximum takes the gradient, equal ones share it."""

    class Maximum(keras.layers.Layer):
        def call(self, x):
            return maximum(x, axis, keepdims)

    x = draw(2, 3, 4, 5)
    x[1, 1, 1] = 7.0  # five equal maxima over the channels
    x[0, 2, 2, 3] = 9.0
    value, (gradient,), _ = value_and_gradients(Maximum(), [x], np.float32(1))
    np.testing.assert_array_equal(value, x.max(axis=axis, keepdims=keepdims))
    equal = x == x.max(axis=axis, keepdims=True)
    np.testing.assert_allclose(gradient.sum(axis), np.ones_like(gradient.sum(axis)), rtol=1e-6)
    assert not gradient[~equal].any()
    np.testing.assert_allclose(gradient[0, 2, 2, 3], 1)
    np.testing.assert_allclose(gradient[1, 1, 1], 0.2 if axis == -1 else 1, rtol=1e-6)


@pytest.mark.every_backend
@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_softmax(axis):
    """Its gradient is a product with the matrix diag(y) - y y^T, which has a derivative too."""

    class Softmax(keras.layers.Layer):
        def call(self, x):
            return precision.softmax(x, axis)

    x, cotangent = 5 * draw(2, 3, 4, 5), draw(2, 3, 4, 5)
    value, (gradient,), _ = value_and_gradients(Softmax(), [x], cotangent)
    powers = np.exp(x.astype("float64"))
    expected = powers / powers.sum(axis, keepdims=True)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    moved = expected * (cotangent - (expected * cotangent).sum(axis, keepdims=True))
    np.testing.assert_allclose(gradient, moved, rtol=1e-5, atol=1e-6)
    if BACKEND == "jax":
        import jax

        one, other = (
            jax.hessian(lambda x, function=function: (function(x) * cotangent[0]).sum())(x[0])
            for function in (lambda x: precision.softmax(x), lambda x: jax.nn.softmax(x))
        )
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.every_backend
def test_gelu(monkeypatch):
    """It is that of Keras, also by name, and a layer with it is saved as one with Keras' own."""
    x = np.linspace(-8, 8, 101, dtype="float32")
    layer = Dense(101, activation="gelu", use_bias=False, kernel_initializer="identity")
    value, (gradient,), _ = value_and_gradients(layer, [x[None]], np.float32(1))
    monkeypatch.setattr(activations, "writes_gelu", lambda: False)
    expected, (keras_gradient,), _ = value_and_gradients(layer, [x[None]], np.float32(1))
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, keras_gradient, rtol=1e-6, atol=1e-6)
    assert layer.activation is activations.gelu
    assert layer.get_config()["activation"] == "gelu"


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND != "jax", reason="JAX traces lengths as symbols")
def test_dense_layers_for_exporters():
    """A trace of unknown lengths joins no axes and has no erf: exporters read neither."""
    import jax

    layer = Dense(8, activation="gelu")
    layer.build((None, None, None, 4))
    known, unknown = (
        str(jax.make_jaxpr(layer)(jax.ShapeDtypeStruct(shape, "float32")))
        for shape in ((2, 5, 3, 4), jax.export.symbolic_shape("b, h, w, 4"))
    )
    assert "reshape" in known
    assert "reshape" not in unknown
    assert " erf" not in known
    assert " erf" not in unknown


@pytest.mark.every_backend
@pytest.mark.parametrize("own", [True, False], ids=["as lowered", "as Keras computes"])
@pytest.mark.parametrize("width", [3, 20])
def test_groups_of_channels(width, own, monkeypatch):
    """Sums, shared weights and the shuffle, with their gradients, against NumPy."""
    for decision in () if own else ("jax_on_cpu", "repeats_by_products"):
        monkeypatch.setattr(groups, decision, lambda: False)

    class Groups(keras.layers.Layer):
        def call(self, x, weights):
            x = x * groups.for_each_group(weights, 4)[1]
            return groups.sum_groups(groups.shuffle(x), 4)

    x, weights, cotangent = draw(2, 3, 4 * width), draw(2, width), draw(2, 3, 4)
    output, (by_x, by_weights), _ = value_and_gradients(Groups(), [x, weights], cotangent)
    order = np.arange(4 * width).reshape(2, -1).T.reshape(-1)
    products = (x * np.tile(weights, (1, 4))[1])[..., order]
    expected = products.reshape(2, 3, 4, width).sum(-1)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    spread = np.empty_like(x)
    spread[..., order] = np.repeat(cotangent, width, -1)
    np.testing.assert_allclose(by_x, spread * np.tile(weights[1], 4), rtol=1e-5, atol=1e-5)
    shared = (spread * x).reshape(-1, 4, width).sum((0, 1))
    np.testing.assert_allclose(by_weights, [0 * shared, shared], rtol=1e-5, atol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("kernel_size", "size"), [(9, (14, 9)), (3, (5, 8)), (None, (5, 6))], ids=str
)
def test_lambdas_and_weights(kernel_size, size, monkeypatch):
    """The values weighted by queries and offsets, and the queries times the lambdas."""
    layer = LambdaAttention(num_heads=2, key_dim=8, kernel_size=kernel_size)
    x, cotangent = draw(2, *size, 64), draw(2, *size, 64)
    layer.build(x.shape)
    place = layer.position.bias if kernel_size else layer.table
    place.assign(draw(*place.shape))
    assert layer._weighing_is_shorter()
    found = []
    for weighs in (True, False):
        monkeypatch.setattr(_lambda, "shares_keys", lambda weighs=weighs: weighs)
        output, (inner,), weights = value_and_gradients(layer, [x], cotangent)
        found.append([output, inner, *weights])
    for ours, written in zip(*found, strict=True):
        bound = 1e-5 * np.abs(written).max()
        np.testing.assert_allclose(ours, written, rtol=1e-4, atol=bound)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's own kernels")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (3, 7, 5), (2, 3, 4, 5), (1, 1, 1, 5)])
@pytest.mark.parametrize("kind", [BatchNormalization, LayerNormalization])
def test_norms(kind, shape, training, monkeypatch):
    """PyTorch's kernels give the numbers, gradients and statistics of the portable form."""
    monkeypatch.setattr(_normalization.kernels_torch, "ENTRIES_IN_CACHE", 12)  # several parts
    results = []
    for own in (True, False):
        monkeypatch.setattr(_normalization, "on_torch", lambda own=own: own)
        layer = kind(epsilon=1e-3)
        layer.build(shape)
        layer.set_weights([0.5 + np.abs(draw(5)) + i for i, _ in enumerate(layer.weights)])
        inputs = [2 + draw(*shape)]
        output, x_gradient, weight_gradients = value_and_gradients(layer, inputs, None, training)
        results.append([output, *x_gradient, *weight_gradients, *layer.get_weights()])
    for ours, portable in zip(*results, strict=True):
        np.testing.assert_allclose(ours, portable, rtol=1e-4, atol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("shape", [(6, 5), (2, 7, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("options", [{}, {"use_bias": False, "activation": "softmax"}])
def test_dense_layers(shape, options):
    """Numbers and gradients are those of Keras' layer, over any number of axes."""
    results = []
    for kind in (Dense, keras.layers.Dense):
        layer = kind(4, **options)
        layer.build(shape)
        layer.set_weights([draw(*weight.shape) for weight in layer.weights])
        output, by_x, by_weights = value_and_gradients(layer, [draw(*shape)], draw(*shape[:-1], 4))
        results.append([output, *by_x, *by_weights])
    assert results[0][0].shape == (*shape[:-1], 4)
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.every_backend
def test_batch_statistics_round_little():
    """Where the mean is large and there are many positions, no digits are lost to long sums."""
    x = 30 + draw(4, 128, 128, 3)
    layer = BatchNormalization()
    layer.build(x.shape)
    _, mean, variance = map(ops.convert_to_numpy, layer._normalize_batch(ops.convert_to_tensor(x)))
    x = x.astype("float64")
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=3e-7)
    np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=3e-6)


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", [BatchNormalization, LayerNormalization])
@pytest.mark.parametrize("policy", ["bfloat16", "mixed_float16", "float64"])
def test_dtypes_of_norms(kind, policy):
    if BACKEND == "jax" and policy == "float64":
        pytest.skip("JAX computes in float32 here")
    layer = kind(dtype=policy)
    output = layer(ops.cast(draw(2, 3, 4, 5), layer.compute_dtype), training=True)
    assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
    assert abs(ops.convert_to_numpy(ops.cast(ops.mean(output), "float32"))) < 1e-2


@pytest.mark.every_backend
def test_decisions():
    """Which ways are taken on this backend; while operations are counted, none of them."""
    cpus = BACKEND == "torch" or all(
        device.startswith("cpu") for device in keras.distribution.list_devices()
    )
    expected = {
        lowering.jax_on_cpu: BACKEND == "jax" and cpus,
        lowering.writes_gelu: BACKEND in ("jax", "tensorflow") and cpus,
        lowering.splits_groups: BACKEND in ("jax", "tensorflow") and cpus,
        lowering.repeats_by_products: BACKEND in ("jax", "tensorflow") and cpus,
        lowering.exact_products: cpus,
        lowering.on_torch: BACKEND == "torch",
        lowering.uses_fused_attention: BACKEND == "torch" or (BACKEND == "jax" and not cpus),
    }
    for _ in range(2):
        assert {decision: decision() for decision in expected} == expected
        with lowering.as_written():
            assert not any(decision() for decision in expected)


@pytest.mark.parametrize(
    ("options", "fused"),
    [
        ({}, True),
        ({"training": True}, True),
        ({"dropout": 0.0, "training": True}, True),
        ({"dropout": 0.5, "training": False}, True),
        ({"dropout": 0.5, "training": True}, False),
        ({"weights": np.ones((3, 5), "float32")}, False),
        ({"return_attention_scores": True}, False),
        ({"value_width": 6}, False),
    ],
)
def test_when_one_kernel_computes_attention(options, fused, monkeypatch):
    """Whenever nothing is asked that it cannot do."""
    calls, real = [], attention._fused
    monkeypatch.setattr(attention, "uses_fused_attention", lambda: True)
    monkeypatch.setattr(attention, "_fused", lambda *given: calls.append(given) or real(*given))
    options = dict(options)
    value = draw(2, 5, 1, options.pop("value_width", 4))
    if "dropout" in options:
        options["dropout"] = keras.layers.Dropout(options["dropout"], name="drop")
    query, key, value = map(ops.convert_to_tensor, (draw(2, 3, 1, 4), draw(2, 5, 1, 4), value))
    attention.attend(query, key, value, **options)
    assert bool(calls) == fused


@pytest.fixture
def two_threads():
    """Let PyTorch compute with two threads: with one, it has no second library for products."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch has two libraries for products")
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 300, 128), (5, 12, 10, 128), (600, 128)])
def test_products_as_convolutions(shape, use_bias, monkeypatch):
    import torch
    from attn_core._ops import kernels_torch

    layer = Dense(128, use_bias=use_bias, bias_initializer="normal")
    layer.build(shape)
    x, cotangent = draw(*shape), draw(*shape)
    seen = []
    convolve = torch.nn.functional.conv2d
    monkeypatch.setattr(
        torch.nn.functional, "conv2d", lambda *given: seen.append(len(given)) or convolve(*given)
    )
    results = {}
    for own in (True, False):
        monkeypatch.setattr(kernels_torch, "convolves_products", lambda own=own: own)
        results[own] = value_and_gradients(layer, [x], cotangent)
        assert len(seen) == 1
    pairs = zip(*(keras.tree.flatten(results[own]) for own in (True, False)), strict=True)
    for one, other in pairs:
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch has two libraries for products")
@pytest.mark.usefixtures("two_threads")
def test_products_that_stay():
    """Small, of other numbers, of one thread."""
    import torch
    from attn_core._ops.kernels_torch import _is_large_product

    large, kernel = torch.zeros(600, 128), torch.zeros(128, 128)
    assert _is_large_product(large, kernel)
    assert not _is_large_product(large[:500], kernel)
    assert not _is_large_product(large, kernel[:, :100])
    assert not _is_large_product(large.double(), kernel.double())
    assert not _is_large_product(large.to("meta"), kernel)
    torch.set_num_threads(1)
    assert not _is_large_product(large, kernel)


def test_processors(monkeypatch):
    """Only those on which MKL does without AVX-512."""
    decide = lowering.convolves_products.__wrapped__
    for words, expected in (
        ({"AuthenticAMD", "avx512f"}, BACKEND == "torch"),
        ({"AuthenticAMD", "avx2"}, False),
        ({"GenuineIntel", "avx512f"}, False),
        (set(), False),
    ):
        monkeypatch.setattr(lowering, "_processor", lambda words=words: words)
        assert decide() == expected


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's own kernels")
@pytest.mark.parametrize(("size", "strides", "padding"), [(2, 2, 0), (3, 2, 0), (3, 2, 1)])
def test_average_pool(size, strides, padding):
    """It is that of Keras, and the result has its channels last in memory too."""
    x = ops.convert_to_tensor(draw(2, 7, 6, 5))
    pooled = pooling.average_pool(x, size, strides, padding)
    padded = convolution.pad_image(x, padding)
    expected = ops.average_pool(padded, size, strides, "valid", "channels_last")
    np.testing.assert_allclose(pooled, expected, atol=1e-6)
    assert pooled.is_contiguous()
