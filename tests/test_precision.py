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
from cases import CASES, FIRST
from gradients import value_and_gradients
from networks import TINY

EPSILON = {"mixed_float16": 2.0**-10, "mixed_bfloat16": 2.0**-7}
"""Distance from one to the next number, by policy."""
UNITS = 2.5
"""How far an output may be from float32: in EPSILON, of the largest output."""
MORE_UNITS = {"S2Attention": 5.0, "FocusedLinearAttention": 4.0}
"""By layer: more of them. Focused linear attention takes the third power of rounded numbers."""
INT8 = 0.03
"""How far the output of a layer with quantized children may be, of the largest output."""
MORE_INT8 = {"FocusedLinearAttention": 0.05}
"""By layer: farther, for the reason above."""

first_case = pytest.mark.parametrize("case", FIRST, ids=lambda case: case.id)


def wide():
    """Return a context in which the backend has float64; JAX hides it unless asked."""
    if keras.config.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def build(cases, policy="float32", **options):
    """Return a model of the layers of cases that share an input shape, with random weights."""
    shape = cases[0].shape[1:]
    if options.get("data_format") == "channels_first":
        shape = (shape[-1], *shape[:-1])
    inputs = keras.Input(shape, dtype="float64" if policy == "float64" else "float32")
    layers = [case.make(dtype=policy, name=f"layer_{i}", **options) for i, case in enumerate(cases)]
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
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
        scales = sorted({1.0, *(case.record.large for case in cases)})
        results = predict(model, np.concatenate([scale * x for scale in scales]))
        for case, (dtype, output) in zip(cases, results, strict=True):
            by_scale = dict(zip(scales, np.split(output, len(scales)), strict=True))
            found[case.layer] = dtype, by_scale[1.0], by_scale[case.record.large]
    return found


@pytest.mark.xdist_group("outputs")  # in one process, which computes them once
@first_case
@pytest.mark.parametrize(
    "policy",
    [pytest.param("mixed_bfloat16", marks=pytest.mark.every_backend), "mixed_float16"],
)
def test_half_precision(case, policy, record_half):
    """The compute dtype comes out, near float32, and finite numbers at large inputs."""
    dtype, output, large = outputs(policy)[case.layer]
    _, expected, _ = outputs("float32")[case.layer]
    assert dtype == keras.DTypePolicy(policy).compute_dtype
    assert np.isfinite(large).all()
    error = np.abs(output - expected).max() / np.abs(expected).max()
    record_half(case.layer, dtype, error)
    assert error / EPSILON[policy] <= MORE_UNITS.get(case.layer, UNITS)


PRECISE = {
    *("exp", "expm1", "log", "logsumexp", "softmax", "log_softmax", "power", "divide"),
    *("mean", "average", "var", "std", "norm", "normalize", "batch_normalization", "cumsum"),
    *("square", "sqrt", "rsqrt", "reciprocal", "fft", "fft2", "rfft", "rfft2", "einsum"),
    *("tanh", "log_sigmoid"),
}
"""Operations that lose digits, or overflow, in half precision: they get float32."""
FEW = 8
"""How many numbers of half precision may be added up at most."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_steps_in_float32(case, monkeypatch):
    """Means, exponentials and the like are computed in float32, in inference and training.

    Weights are of half precision too, so that each operation needs its own conversion.
    """
    halves = []

    def watch(name, function):
        def call(x, *arguments, **options):
            result = function(x, *arguments, **options)
            first = x[0] if isinstance(x, (tuple, list)) else x
            half = str(getattr(first, "dtype", "")).endswith("float16")
            if half and (name != "sum" or np.prod(first.shape) > FEW * np.prod(result.shape)):
                halves.append(name)
            return result

        return call

    layer, x = case.make(dtype="bfloat16"), case.draw()
    layer.build(case.shape)
    for name in {*PRECISE, "sum"} & set(dir(keras.ops)):
        monkeypatch.setattr(keras.ops, name, watch(name, getattr(keras.ops, name)))
    layer(x)
    if layer._call_has_training_arg:
        layer(x, training=True)
    assert halves == []


IN_FLOAT32 = {
    "AFTConv": {"position_bias", "gamma", "beta"},
    "AFTFull": {"position_bias", "target_factor", "source_factor"},
    "AFTLocal": {"position_bias"},
    "AgentAttention": {
        *("key_table", "key_rows", "key_columns", "query_table", "query_rows", "query_columns"),
    },
    "BottleneckSelfAttention": {"rows", "columns"},
    "DeformableAttention": {"table"},
    "DifferentialAttention": {"gamma", "lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"},
    "FocusedLinearAttention": {"scale", "places"},
    "GatherExciteAttention": {"kernel"},
    "GlobalFilter": {"filter"},
    "NeighborhoodAttention": {"table"},
    "RelativeSelfAttention": {"table"},
    "WindowAttention": {"table"},
}
"""Weights of layers that mixed precision leaves in float32: each serves many sums."""


@pytest.mark.parametrize("name", IN_FLOAT32)
def test_weights_in_float32(name):
    found = set()
    for case in CASES:
        if case.layer == name:
            layer = case.make(dtype="mixed_bfloat16")
            layer.build(case.shape)
            own = [one for one in layer.weights if one.path.count("/") == 1]
            found |= {one.name for one in own if not one._autocast}
    assert found == IN_FLOAT32[name]


STEEP = [case for case in FIRST if case.record.large < 100]
"""Layers whose numbers grow with the square of their input: their gradients overflow earlier."""


@pytest.mark.parametrize(
    ("cases", "scale"),
    [(cases, 2**13) for cases in by_shape([case for case in FIRST if case not in STEEP])]
    + [(cases, 2**8) for cases in by_shape(STEEP)],
    ids=lambda one: str(one if isinstance(one, int) else one[0].shape),
)
def test_training_in_float16(cases, scale):
    """A step with the loss scaled up: no gradient overflows, every layer learns."""
    model = build(cases, "mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), scale)
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
    assert moved == {layer.name for layer in model.layers if layer.trainable_weights}


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
        output, inner, weights = value_and_gradients(model.layers[1], [x], cotangent)
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
    bound = MORE_INT8.get(case.layer, INT8)
    assert np.abs(output - expected).max() <= bound * np.abs(expected).max()
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(reloaded(x)), output)


@pytest.mark.skipif(keras.config.backend() == "jax", reason="a minute; nothing is JAX's own here")
@pytest.mark.parametrize("name", ["GFNet", pytest.param("MobileViT", marks=pytest.mark.thorough)])
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


NETWORK_UNITS = 2.0
"""How far logits may be from float32: the standard deviation, in EPSILON, of that of the logits."""
SENSITIVE = {"ResT": 1.5}
"""Networks that enlarge every rounding, also in float32: how far their logits may be, as a multiple
of what rounding the weights alone does in float32. ResT's instance norm divides small differences
between positions by their own size."""


def randomize(network, rng) -> None:
    """Move the statistics and all weights with one axis."""
    for weight in network.weights:
        spread = 0.3 * rng.standard_normal(weight.shape)
        if "variance" in weight.path or "gamma" in weight.path:
            weight.assign(1 + np.abs(spread))
        elif any(part in weight.path for part in ("mean", "beta", "bias")):
            weight.assign(spread)


def rounded(weights, policy) -> list:
    """Return weights as they are in the half precision of a policy, in float32."""
    half = keras.DTypePolicy(policy).compute_dtype
    return [keras.ops.cast(keras.ops.cast(one, half), "float32") for one in weights]


@pytest.mark.parametrize("policy", EPSILON)
@pytest.mark.parametrize("name", TINY)
def test_networks(name, policy):
    """With moved statistics, logits in half precision are those of float32."""
    config = models.ResT.VARIANTS["rest_lite"] if name == "ResT" else TINY[name]
    full, half = (
        getattr(models, name)(**{**config, "num_classes": 100}, dtype=one)
        for one in ("float32", policy)
    )
    rng = np.random.default_rng(5)
    randomize(full, rng)
    weights = full.get_weights()
    half.set_weights(weights)
    side = full.input_shape[1] or 128
    x = rng.standard_normal((2, side, side, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(full(x))
    found = keras.ops.convert_to_numpy(keras.ops.cast(half(x), "float32"))
    bound = NETWORK_UNITS * EPSILON[policy] * expected.std()
    if name in SENSITIVE:
        full.set_weights(rounded(weights, policy))
        difference = keras.ops.convert_to_numpy(full(x)) - expected
        bound = SENSITIVE[name] * difference.std()
    print(name, policy, (found - expected).std() / expected.std(), bound / expected.std())
    assert (found - expected).std() <= bound


def test_every_network_is_there():
    networks = {one.__name__ for one in vars(models).values() if hasattr(one, "VARIANTS")}
    assert networks == set(TINY)
