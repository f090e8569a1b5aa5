"""What every layer must do, whatever its mechanism: one table of cases, many properties."""

import keras
import numpy as np
import pytest
from cases import CASES, each
from gradients import compile_gradients, layer_takes_training, value_and_gradients
from keras import ops
from keras.src.testing import TestCase

every_case = each(CASES)
image_case = each(case for case in CASES if case.is_image)
map_case = each(case for case in CASES if case.has_map)
sized_case = each(case for case in CASES if case.other is not None)


def numpy(x):
    return ops.convert_to_numpy(x)


def randomize(layer, seed=5):
    """Give every weight random values: zero-initialised gates would hide what lies behind them."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        if weight.dtype.startswith("float"):
            spread = 0.1 * rng.standard_normal(weight.shape)
            positive = "variance" in weight.path or "gamma" in weight.path
            weight.assign(1 + spread if positive else 5 * spread)


@every_case
def test_keras_conformance(case):
    TestCase().run_layer_test(case.cls, case.config, input_shape=case.shape)


@every_case
def test_config_is_the_same_before_and_after_build(case):
    layer = case.make()
    before = layer.get_config()
    layer(case.draw())
    assert layer.get_config() == before
    assert case.cls.from_config(before).get_config() == before
    for name, value in case.config.items():
        if name != "temperatures":  # test_configurations_are_json: "inf" is a name there
            assert before[name] == value


@every_case
def test_symbolic_call_and_save(case, tmp_path):
    """Unknown sizes where they may be, a .keras file and back, without custom_objects."""
    known = case.shape[1:] if case.other is None else (*[None] * len(case.other), case.shape[-1])
    if len(known) < len(case.shape) - 1:
        known = (*[None] * (len(case.shape) - 2), case.shape[-1])
    inputs = keras.Input(known)
    layer = case.make()
    model = keras.Model(inputs, layer(inputs))
    randomize(layer)
    x = case.draw()
    output = numpy(model(x))
    assert output.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(numpy(layer(x)), output, atol=1e-5)
    assert model.count_params() == layer.count_params()

    path = tmp_path / "model.keras"
    model.save(path)
    reloaded = keras.saving.load_model(path)
    np.testing.assert_allclose(numpy(reloaded(x)), output, atol=1e-6)
    if case.other is not None:
        other = case.draw(case.other_shape)
        np.testing.assert_allclose(numpy(reloaded(other)), numpy(model(other)), atol=1e-6)


@sized_case
def test_two_sizes(case):
    """A built layer takes another size, and gives there what a layer built for it gives."""
    layer, twin = case.make(), case.make()
    first, second = case.draw(), case.draw(case.other_shape)
    layer(first)
    twin(second)
    randomize(layer)
    randomize(twin)
    np.testing.assert_allclose(numpy(layer(second)), numpy(twin(second)), atol=1e-5)


@every_case
def test_every_weight_learns(case):
    layer = case.make()
    layer(case.draw())
    randomize(layer)
    _, input_gradients, weight_gradients = value_and_gradients(layer, [case.draw()], training=False)
    assert np.isfinite(input_gradients[0]).all()
    assert np.abs(input_gradients[0]).max() > 0
    for weight, gradient in zip(layer.trainable_variables, weight_gradients, strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        if not weight.path.endswith(case.record.no_gradient or "none"):
            assert np.abs(gradient).max() > 0, weight.path


@every_case
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(case, policy):
    """The output has the compute dtype, is near that in float32, finite at large inputs."""
    layer, exact = case.make(dtype=policy), case.make()
    x = case.draw()
    exact(x)
    scale = case.record.large
    for large in (case.draw(scale=scale), np.full(case.shape, scale, "float32")):
        assert np.isfinite(numpy(ops.cast(layer(large), "float32"))).all()
    randomize(exact)
    randomize(layer)
    output = layer(x)
    assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
    expected = numpy(exact(x))
    bound = 0.02 if policy == "mixed_float16" else 0.15
    difference = np.abs(numpy(ops.cast(output, "float32")) - expected).max()
    assert difference <= bound * max(1.0, np.abs(expected).max())


@every_case
def test_float64(case):
    keras.config.set_floatx("float64")
    output = case.make(dtype="float64")(case.draw(dtype="float64"))
    narrowed = keras.config.backend() == "jax"  # unless jax_enable_x64 is set
    expected = "float32" if narrowed else "float64"
    assert keras.backend.standardize_dtype(output.dtype) == expected


@image_case
def test_channels_first_is_channels_last_transposed(case):
    last = case.make(data_format="channels_last")
    first = case.make(data_format="channels_first")
    x = case.draw()
    expected = numpy(last(x))
    turned = np.transpose(x, (0, 3, 1, 2))
    first(turned)
    for layer in (last, first):
        randomize(layer)
    expected = numpy(last(x))
    output = numpy(first(turned))
    assert output.shape == tuple(first.compute_output_shape(turned.shape))
    if output.ndim == 4:
        output = np.transpose(output, (0, 2, 3, 1))
    np.testing.assert_allclose(output, expected, atol=1e-5)
    if case.has_map:
        shape = first.compute_attention_shape(turned.shape)
        _, maps = first(turned, return_attention_scores=True)
        assert shape == _shapes(maps)


def _shapes(maps):
    return tuple(map(_shapes, maps)) if isinstance(maps, (tuple, list)) else tuple(maps.shape)


@map_case
def test_attention_map(case):
    """The map comes on request, in the shape that is declared, and changes no output."""
    layer = case.make()
    x = case.draw()
    layer(x)
    randomize(layer)
    plain = numpy(layer(x))
    output, maps = layer(x, return_attention_scores=True)
    np.testing.assert_allclose(numpy(output), plain, atol=1e-5)
    assert _shapes(maps) == layer.compute_attention_shape(x.shape)
    for one in maps if isinstance(maps, tuple) else (maps,):
        assert np.isfinite(numpy(one)).all()
        assert numpy(one).std() > 0 or numpy(one).size == x.shape[0]

    symbolic, symbolic_maps = layer(keras.Input(case.shape[1:]), return_attention_scores=True)
    assert tuple(symbolic.shape[1:]) == output.shape[1:]
    for one, many in zip(keras.tree.flatten(symbolic_maps), keras.tree.flatten(maps), strict=True):
        assert tuple(one.shape[1:]) == tuple(many.shape[1:])


@every_case
def test_extreme_inputs_stay_finite(case):
    """Zeros, constants, magnitude 1e4, and a batch of one."""
    layer = case.make()
    layer(case.draw())
    randomize(layer)
    run = compile_gradients(layer, [case.draw()])
    extremes = {
        "zeros": np.zeros(case.shape, "float32"),
        "constant": np.full(case.shape, 3.0, "float32"),
        "large": case.draw(scale=1e4),
        "one sample": case.draw((1, *case.shape[1:])),
    }
    for name, x in extremes.items():
        output, (gradient,), weight_gradients = run([x])
        assert np.isfinite(output).all(), name
        assert np.isfinite(gradient).all(), name
        assert all(np.isfinite(g).all() for g in weight_gradients if g is not None), name


@sized_case
def test_one_position(case):
    """A single token or a 1x1 map."""
    x = case.draw((2, *[1] * (len(case.shape) - 2), case.shape[-1]))
    if not case.record.one_position or case.config.get("strides") == 2:
        pytest.skip("the layer needs more than one position, or its strides do")
    layer = case.make()
    output, (gradient,), _ = value_and_gradients(layer, [x])
    assert np.isfinite(output).all()
    assert np.isfinite(gradient).all()


@every_case
def test_training_on_a_constant_image_stays_finite(case):
    """Statistics of a batch without variance, which cancellation must not make negative."""
    layer = case.make()
    x = np.full(case.shape, 33.3, "float32")
    layer(x)
    randomize(layer)
    training = {"training": True} if layer_takes_training(layer) else {}
    output = layer(x, **training)
    assert np.isfinite(numpy(output)).all()
    assert all(np.isfinite(numpy(weight)).all() for weight in layer.weights)
