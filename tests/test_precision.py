"""Half precision, float64 and int8: dtypes, finite numbers, and how near they are to float32.

The first case of each layer; those of one input shape run in one model, compiled once. In
test_layers.py all cases run in half precision, with one wide bound.
"""

import contextlib
import functools
import warnings

import keras
import numpy as np
import pytest
from attn_core import models
from cases import CASES
from gradients import value_and_gradients
from networks import TINY

LARGE = 100.0
"""Standard deviation of the large inputs. Products of a few of their numbers fit into float16."""
EPSILON = {"mixed_float16": 2.0**-10, "mixed_bfloat16": 2.0**-7}
"""Distance from one to the next number, by policy."""
UNITS = 2.5
"""How far an output may be from float32: in EPSILON, of the largest output."""
MORE_UNITS = {"S2Attention": 5.0}
"""By layer: more of them."""
INT8 = 0.03
"""How far the output of a layer with quantized children may be, of the largest output."""

FIRST = list({case.layer: case for case in reversed(CASES)}.values())[::-1]
"""The first case of each layer."""
first_case = pytest.mark.parametrize("case", FIRST, ids=lambda case: case.id)


def wide():
    """Return a context in which the backend has float64; JAX hides it unless asked."""
    if keras.config.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def build(cases, policy):
    """Return a model of the layers of cases that share an input shape, with random weights."""
    inputs = keras.Input(cases[0].shape[1:], dtype="float64" if policy == "float64" else "float32")
    layers = [case.make(dtype=policy, name=f"layer_{i}") for i, case in enumerate(cases)]
    calls = zip(layers, cases, strict=True)
    model = keras.Model(inputs, [layer(inputs, **case.call) for layer, case in calls])
    for layer in layers:
        rng = np.random.default_rng(5)
        for weight in layer.weights:
            spread = rng.standard_normal(weight.shape)
            positive = "variance" in weight.path or "gamma" in weight.path
            weight.assign(1 + 0.1 * spread if positive else 0.5 * spread)
    return model


def by_shape(cases) -> list[list]:
    """Return the cases in lists of one input shape."""
    groups = {}
    for case in cases:
        groups.setdefault(case.shape, []).append(case)
    return list(groups.values())


def predict(model, x) -> list[tuple[str, np.ndarray]]:
    """Return the dtype and the numbers of each output; compiled on JAX and TensorFlow."""
    model.compile(jit_compile=keras.config.backend() == "jax")
    # Not `predict_on_batch` on PyTorch: it makes float32 of bfloat16.
    run = model if keras.config.backend() == "torch" else model.predict_on_batch
    results = keras.tree.flatten(run(x))
    kinds = [keras.backend.standardize_dtype(one.dtype) for one in results]
    numbers = [keras.ops.convert_to_numpy(one).astype("float64") for one in results]
    return list(zip(kinds, numbers, strict=True))


@functools.cache
def outputs(policy: str) -> dict:
    """Return dtype, output and output at large inputs of each layer, by name."""
    found = {}
    for cases in by_shape(FIRST):
        model = build(cases, policy)
        x = cases[0].draw(dtype=model.input.dtype)
        results = predict(model, np.concatenate([x, LARGE * x]))
        for case, (dtype, output) in zip(cases, results, strict=True):
            found[case.layer] = dtype, *np.split(output, 2)
    return found


@pytest.mark.xdist_group("outputs")  # in one process, which computes them once
@first_case
@pytest.mark.parametrize("policy", EPSILON)
def test_half_precision(case, policy):
    """The compute dtype comes out, near float32, and finite numbers at large inputs."""
    dtype, output, large = outputs(policy)[case.layer]
    _, expected, _ = outputs("float32")[case.layer]
    assert dtype == keras.DTypePolicy(policy).compute_dtype
    assert np.isfinite(large).all()
    units = np.abs(output - expected).max() / np.abs(expected).max() / EPSILON[policy]
    assert units <= MORE_UNITS.get(case.layer, UNITS)


@pytest.mark.parametrize("cases", by_shape(FIRST), ids=lambda cases: str(cases[0].shape))
def test_training_in_float16(cases):
    """A step with the loss scaled 8192-fold: no gradient overflows, every layer learns."""
    model = build(cases, "mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), 2**13)
    x = cases[0].draw()
    rng = np.random.default_rng(1)
    targets = [one + rng.standard_normal(one.shape) for _, one in predict(model, x)]
    model.compile(optimizer, "mse", jit_compile=keras.config.backend() == "jax")
    before = [weight.numpy() for weight in model.trainable_weights]
    assert np.isfinite(model.train_on_batch(x, targets)).all()
    assert float(optimizer.dynamic_scale) == optimizer.initial_scale  # an overflow would halve it
    after = [weight.numpy() for weight in model.trainable_weights]
    assert all(np.isfinite(one).all() for one in after)
    moved = {
        weight.path.split("/")[0]
        for weight, old, new in zip(model.trainable_weights, before, after, strict=True)
        if (old != new).any()
    }
    assert moved == {f"layer_{i}" for i in range(len(cases))}


@pytest.mark.xdist_group("outputs")
@first_case
def test_float64(case):
    """float64 comes out, near float32; the configuration keeps the policy."""
    with wide():
        dtype, output, _ = outputs("float64")[case.layer]
        layer = case.make(dtype="float64")
        assert case.cls.from_config(layer.get_config()).dtype_policy.name == "float64"
    _, expected, _ = outputs("float32")[case.layer]
    assert dtype == "float64"
    assert np.abs(output - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["CBAM", "HaloAttention", "MUSEAttention", "MobileViTv2Block"])
def test_gradients_and_training_in_float64(name):
    """Gradients and weights stay in float64 through a training step."""
    (case,) = (case for case in FIRST if case.layer == name)
    keras.config.set_floatx("float64")
    with wide():
        model = build([case], "float64")
        x = case.draw(dtype="float64")
        cotangent = np.ones(model.layers[1].compute_output_shape(case.shape))
        output, inner, weights = value_and_gradients(model.layers[1], [x], cotangent, **case.call)
        assert {one.dtype for one in [output, *inner, *weights]} == {np.dtype("float64")}
        model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=False)
        before = model.evaluate(x, np.zeros_like(output), verbose=0)
        model.train_on_batch(x, np.zeros_like(output))
        assert model.evaluate(x, np.zeros_like(output), verbose=0) < before
        assert {weight.numpy().dtype for weight in model.weights} <= {np.dtype("float64")}


@first_case
def test_int8(case, tmp_path):
    """`Model.quantize` reaches the dense layers inside; saved and reloaded they are the same."""
    model, x = build([case], "float32"), case.draw()
    expected = keras.ops.convert_to_numpy(model(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Keras leaves as it is
        model.quantize("int8")
    output = keras.ops.convert_to_numpy(model(x))
    assert np.abs(output - expected).max() <= INT8 * np.abs(expected).max()
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(reloaded(x)), output)


@pytest.mark.skipif(keras.config.backend() == "jax", reason="a minute; nothing is JAX's own here")
@pytest.mark.parametrize("name", ["GFNet", "MobileViT"])
def test_int8_networks_can_be_saved(name, tmp_path):
    model = getattr(models, name)(**TINY[name], num_classes=3)
    shape = [side or 32 for side in model.input_shape[1:]]
    x = np.random.default_rng(0).standard_normal((1, *shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize("int8")
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    output, again = (keras.ops.convert_to_numpy(one(x)) for one in (model, reloaded))
    np.testing.assert_array_equal(again, output)


@first_case
def test_a_layer_alone_is_not_quantized(case):
    layer = case.make()
    layer.build(case.shape)
    with pytest.raises(NotImplementedError, match=f"{case.layer} .*`quantize` the model"):
        layer.quantize("int8")
