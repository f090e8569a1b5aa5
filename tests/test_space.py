"""Signals `(B, T, C)` and volumes `(B, D, H, W, C)`: layers take them, or say that they do not."""

import keras
import numpy as np
import pytest
from attn_core import attention_maps, layers, load_torch_weights, profile
from attn_core._weights.entries import entries
from attn_core.catalog import LAYERS
from attn_core.catalog._docstrings import sections
from attn_core.layers import ImageLayer
from cases import CASES, FIRST, each
from gradients import compiled_call, layer_takes_training, value_and_gradients
from keras import ops
from test_layers import numpy, randomize

SIGNAL, VOLUME = (2, 7), (2, 3, 4, 5)
FORMATS = ["channels_last", "channels_first"]


def spatial_axes(case):
    """How many spatial axes the layer of a case may have; its arguments may allow fewer."""
    return case.make().spatial_axes


IMAGES = [case for case in CASES if case.is_image]
ANY = [case for case in IMAGES if spatial_axes(case) == (1, 2, 3)]
ANY_FIRST = [case for case in ANY if case in FIRST]
FOR_IMAGES = [case for case in IMAGES if case not in ANY]

COUNT_POSITIONS = {"CBAM", "DoubleAttention", "ShuffleAttention", "SimAM", "SpatialGroupEnhance"}
"""Of each way to deal with dynamic sizes one or two layers, for all backends."""

every_backend = pytest.mark.every_backend
each_format = pytest.mark.parametrize("data_format", FORMATS)
each_space = pytest.mark.parametrize("space", [SIGNAL, VOLUME], ids=["signal", "volume"])


def test_every_layer_has_decided():
    """By its mathematics: the names are those that need no second thought."""
    assert {spatial_axes(case) for case in IMAGES} == {(2,), (1, 2, 3)}
    tokens = [case for case in CASES if not issubclass(case.cls, ImageLayer)]
    assert {spatial_axes(case) for case in tokens} == {(1,)}
    names = "SEAttention EffectiveSEAttention ECAAttention CBAM BAM SpatialGroupEnhance SimAM "
    names += "ShuffleAttention SCSEAttention GlobalContextAttention ParallelPolarizedSelfAttention"
    assert set(names.split()) <= {case.layer for case in ANY_FIRST}
    both_axes = "CoordinateAttention TripletAttention AxialAttention GlobalFilter WindowAttention"
    assert set(both_axes.split()) <= {case.layer for case in FOR_IMAGES}


@pytest.mark.parametrize("name", LAYERS)
def test_docstrings_say_so(name):
    """`attn list` and `attn show` read them."""
    cls = getattr(layers, name)
    told = "Signals, `(B, T, C)`, and volumes, `(B, D, H, W, C)`, are accepted too"
    text = " ".join(sections(cls)["Call arguments"].split())
    assert (told in text) == (cls.spatial_axes == (1, 2, 3))


# Numbers, against the same layer on images.


def build_twins(case, shape, other, inserted, **options):
    """Return a layer, and one of the same weights for inputs with an axis more or less.

    The kernels of the one with more axes have those of the other in their middle along `inserted`;
    beside it they are random.
    """
    layer, twin = case.make(**options), case.make(**options)
    layer.build(shape)
    twin.build(other)
    randomize(layer)
    randomize(twin, seed=8)
    for one, of_twin in zip(layer.weights, twin.weights, strict=True):
        small, large = sorted((one, of_twin), key=lambda weight: len(weight.shape))
        value = numpy(small)
        if value.size != np.prod(large.shape):
            larger = numpy(large).copy()
            np.moveaxis(larger, inserted, 0)[large.shape[inserted] // 2] = value
            large.assign(larger)
        elif large is of_twin:
            large.assign(value.reshape(large.shape))
        else:
            small.assign(numpy(large).reshape(small.shape))
    return layer, twin


def results(layer, x, training):
    """Return output, maps, and the moving statistics after the call."""
    options = {"training": training} if layer_takes_training(layer) else {}
    options |= {"return_attention_scores": True} if layer.maps else {}
    found = keras.tree.flatten(layer(x, **options))
    return [numpy(one) for one in (*found, *layer.non_trainable_weights)]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.reshape(one.shape), atol=1e-5)


def ordered(x, data_format):
    return x if data_format == "channels_last" else np.moveaxis(x, -1, 1)


@each(ANY)
@each_format
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_signals_are_images_of_one_column(case, data_format, training):
    x = case.draw((*SIGNAL, case.shape[-1]))
    signal, image = ordered(x, data_format), ordered(x[:, :, None], data_format)
    layer, twin = build_twins(case, signal.shape, image.shape, 1, data_format=data_format)
    assert_same(results(layer, signal, training), results(twin, image, training))


@each(ANY)
@each_format
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_volumes_of_one_slice_are_images(case, data_format, training):
    x = case.draw((2, *VOLUME[2:], case.shape[-1]))
    volume, image = ordered(x[:, None], data_format), ordered(x, data_format)
    layer, twin = build_twins(case, volume.shape, image.shape, 0, data_format=data_format)
    assert_same(results(layer, volume, training), results(twin, image, training))


@each(ANY)
@each_format
def test_volumes_are_images_of_all_slices(case, data_format):
    """One below the other: only the convolutions of CBAM and BAM see a difference."""
    if case.layer == "BAM" or (case.layer == "CBAM" and case.make().spatial):
        pytest.skip("test_cbam_position_by_position and test_bam_position_by_position")
    x = case.draw((*VOLUME, case.shape[-1]))
    below = x.reshape(2, -1, *x.shape[3:])
    volume, image = ordered(x, data_format), ordered(below, data_format)
    layer, twin = build_twins(case, volume.shape, image.shape, 0, data_format=data_format)
    assert_same(results(layer, volume, False), results(twin, image, False))


# Numbers, by the formula.


def convolve(x, kernel, dilation=1):
    """Convolve with zeros around, by loops over the kernel."""
    taps, size = kernel.shape[:-2], x.shape[1:-1]
    padding = [(dilation * (k // 2),) * 2 for k in taps]
    padded = np.pad(x, [(0, 0), *padding, (0, 0)])
    total = 0.0
    for tap in np.ndindex(taps):
        window = [slice(dilation * t, dilation * t + n) for t, n in zip(tap, size, strict=True)]
        total = total + padded[(slice(None), *window)] @ kernel[tap]
    return total


def normalize(x, norm):
    mean, variance = numpy(norm.moving_mean), numpy(norm.moving_variance)
    return (x - mean) / np.sqrt(variance + 1e-5) * numpy(norm.gamma) + numpy(norm.beta)


def dense(x, layer):
    return x @ numpy(layer.kernel) + numpy(layer.bias)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@every_backend
@each_space
def test_cbam_position_by_position(space):
    layer = layers.CBAM(2, kernel_size=5, data_format="channels_last")
    x = np.random.default_rng(0).standard_normal((*space, 8)).astype("float32")
    layer.build(x.shape)
    randomize(layer)
    assert layer.conv.kernel.shape == (*(5,) * (len(space) - 1), 2, 1)
    over = tuple(range(1, len(space)))
    pooled = x.mean(over, keepdims=True), x.max(over, keepdims=True)
    channel = sum(dense(np.maximum(dense(one, layer.squeeze), 0), layer.excite) for one in pooled)
    z = x * sigmoid(channel)
    pooled = np.concatenate([z.max(-1, keepdims=True), z.mean(-1, keepdims=True)], -1)
    position = normalize(convolve(pooled, numpy(layer.conv.kernel)), layer.norm)
    output, (gradient,), _ = value_and_gradients(layer, [x])
    np.testing.assert_allclose(output, z * sigmoid(position), atol=1e-5)
    assert np.isfinite(gradient).all()


@every_backend
@each_space
def test_bam_position_by_position(space):
    layer = layers.BAM(2, dilation=2, data_format="channels_last")
    x = np.random.default_rng(0).standard_normal((*space, 8)).astype("float32")
    layer.build(x.shape)
    randomize(layer)
    assert layer.spatial[1].kernel.shape == (*(3,) * (len(space) - 1), 4, 4)
    channel = dense(x.mean(tuple(range(1, len(space))), keepdims=True), layer.channel[0])
    channel = np.maximum(normalize(channel, layer.channel_norms[0]), 0)
    position = np.maximum(normalize(dense(x, layer.spatial[0]), layer.spatial_norms[0]), 0)
    for one, norm in zip(layer.spatial[1:], layer.spatial_norms[1:], strict=True):
        position = convolve(position, numpy(one.kernel), dilation=2) + numpy(one.bias)
        position = np.maximum(normalize(position, norm), 0)
    scores = dense(channel, layer.channel_last) * dense(position, layer.spatial_last)
    output, (gradient,), _ = value_and_gradients(layer, [x])
    np.testing.assert_allclose(output, x * (1 + sigmoid(scores)), atol=1e-5)
    assert np.isfinite(gradient).all()


# In models.


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[every_backend] * (case.layer in COUNT_POSITIONS))
        for case in ANY_FIRST
    ],
    ids=lambda case: case.id,
)
@pytest.mark.parametrize(
    ("data_format", "space"),
    [("channels_last", SIGNAL), ("channels_first", VOLUME)],
    ids=["signal", "volume"],
)
def test_models_of_any_size(case, data_format, space, tmp_path):
    """A graph of unknown sizes, its file, its maps; two sizes, each as the layer gives them."""
    layer = case.make(data_format=data_format)
    sizes, channels = [space[1:], tuple(length + 1 for length in space[1:])], case.shape[-1]
    unknown = (*(None for _ in space[1:]), channels)
    inputs = keras.Input(unknown if data_format == "channels_last" else unknown[::-1])
    model = keras.Model(inputs, layer(inputs))
    randomize(layer)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.layers[-1].get_config() == layer.get_config()
    for size in sizes:
        x = ordered(case.draw((2, *size, channels)), data_format)
        expected = compiled_call(layer, [x])
        assert expected.shape == tuple(layer.compute_output_shape(x.shape))
        np.testing.assert_allclose(compiled_call(reloaded, [x]), expected, atol=1e-5)
    if layer.maps:
        (maps,) = attention_maps(model, x).values()
        shapes = layer.compute_attention_shape(x.shape)
        found = [one.shape for one in maps] if isinstance(maps, tuple) else maps.shape
        assert found == (list(shapes) if isinstance(maps, tuple) else shapes)


@each(ANY_FIRST)
@each_space
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(case, space, policy):
    exact, layer = (case.make(dtype=dtype, data_format="channels_last") for dtype in (None, policy))
    x = case.draw((*space, case.shape[-1]))
    exact.build(x.shape)
    layer.build(x.shape)
    randomize(exact)
    layer.set_weights(exact.get_weights())
    output, expected = layer(x), numpy(exact(x))
    assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
    bound = 0.02 if policy == "mixed_float16" else 0.15  # as in test_mixed_precision
    difference = np.abs(numpy(ops.cast(output, "float32")) - expected).max()
    assert difference <= bound * max(1.0, np.abs(expected).max())


@each_space
def test_profile_counts_the_convolutions(space):
    """Of CBAM: two dense layers for two poolings, and one filter of two channels."""
    layer = layers.CBAM(2, kernel_size=3, data_format="channels_last")
    axes, positions = len(space) - 1, np.prod(space[1:])
    found = profile(layer, (1, *space[1:], 8), modes=())
    assert found.trainable_parameters + found.other_parameters == layer.count_params()
    assert sum(found.multiply_adds.values()) == 2 * 2 * 8 * 4 + positions * 3**axes * 2


# Weights.


@each_space
@pytest.mark.parametrize("name", ["CBAM", "BAM"])
def test_torch_weights_of_conv1d_and_conv3d(name, space):
    """The names of the authors' modules; PyTorch's kernels have outputs and inputs first."""
    layer = getattr(layers, name)(2, data_format="channels_last")
    layer.build((None, *space[1:], 8))
    axes = len(space) - 1
    convolutions = {
        "CBAM": {"SpatialGate.spatial.conv.weight": (1, 2, *(7,) * axes)},
        "BAM": {
            f"spatial_att.gate_s.gate_s_conv_di_{i}.weight": (4, 4, *(3,) * axes) for i in (0, 1)
        },
    }[name]
    state = {key: np.zeros(one.shape, "float32") for key, one in entries(layer).items()}
    assert convolutions.items() <= {key: one.shape for key, one in state.items()}.items()
    rng = np.random.default_rng(0)
    state |= {key: rng.standard_normal(shape) for key, shape in convolutions.items()}
    load_torch_weights(layer, state)
    loaded = [layer.conv] if name == "CBAM" else layer.spatial[1:]
    for one, expected in zip(loaded, (state[key] for key in convolutions), strict=True):
        turned = np.moveaxis(expected, (0, 1), (-1, -2))
        np.testing.assert_array_equal(numpy(one.kernel), turned.astype("float32"))
    key = next(iter(convolutions))  # the kernel of an image does not fit
    with pytest.raises(ValueError, match="misshapen"):
        load_torch_weights(layer, state | {key: np.zeros((*convolutions[key][:2], 7, 7))})


@each_space
def test_torch_weights_without_neighbourhood(space):
    """1x1 convolutions of any number of axes are dense layers."""
    layer = layers.SEAttention(2, data_format="channels_last")
    layer.build((None, *space[1:], 8))
    ones = (1,) * (len(space) - 1)
    state = {"fc.0.weight": np.ones((4, 8, *ones)), "fc.2.weight": np.full((8, 4, *ones), 2.0)}
    load_torch_weights(layer, state)
    np.testing.assert_array_equal(numpy(layer.excite.kernel), np.full((4, 8), 2.0))


# What is for images alone.


@each(FOR_IMAGES)
@each_format
@each_space
def test_layers_on_images_say_so(case, data_format, space):
    layer = case.make(data_format=data_format)
    if len(space) == 2 and 2 in {len(one.shape) for one in case.record.cases}:
        pytest.skip("it takes tokens too")
    x = ordered(case.draw((2, *(12,) * (len(space) - 1), case.shape[-1])), data_format)
    with pytest.raises(ValueError, match="rank 4") as caught:
        layer(x)
    axes = {"channels_last": "(batch, height, width, channels)"}
    axes["channels_first"] = "(batch, channels, height, width)"
    text = str(caught.value)
    assert f"{case.layer} " in text
    assert axes[data_format] in text
    assert "layer is for images" in text
    assert str(x.shape) in text
    assert not layer.built
    cure = "`keras.ops.expand_dims(x, 2)`" if data_format == "channels_last" else "(x, 3)`"
    if len(space) == 2:
        assert (cure in text) == case.cls.one_column


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.id)
def test_the_cures_work(case):
    """A signal as an image of one column, a volume slice by slice, positions as tokens."""
    signal = case.draw((2, 12, case.shape[-1]))
    if not issubclass(case.cls, ImageLayer):
        volume = signal.reshape(2, 3, 2, 2, -1)
        with pytest.raises(
            ValueError, match=r"rank 3.*`keras\.layers\.Reshape\(\(-1, channels\)\)`"
        ):
            case.make()(volume)
        return
    if case in FOR_IMAGES and case.cls.one_column:
        layer = case.make(data_format="channels_last")
        assert layer(ops.expand_dims(signal, 2)).shape[1:3] == (12, 1)
    if case in FOR_IMAGES:
        slices = case.draw()[:, None]
        layer = case.make(data_format="channels_last")
        output = keras.layers.TimeDistributed(layer)(slices)
        np.testing.assert_allclose(numpy(output)[:, 0], numpy(layer(slices[:, 0])), atol=1e-5)
