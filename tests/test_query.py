"""What the layers on query, key and value must do beyond the generic tests."""

import keras
import numpy as np
import pytest
from attn_core import (
    DifferentialAttention,
    ExternalAttention,
    LinearAttention,
    MUSEAttention,
    ScaledDotProductAttention,
    SimplifiedScaledDotProductAttention,
    UFOAttention,
    load_torch_weights,
)
from gradients import value_and_gradients
from keras import ops
from test_layers import numpy, randomize

MASKED = [ScaledDotProductAttention, SimplifiedScaledDotProductAttention]


def draw(*shape, scale=1.0):
    return (scale * np.random.default_rng(sum(shape)).standard_normal(shape)).astype("float32")


Q, K, V = draw(3, 5, 8), draw(3, 7, 8), draw(3, 7, 8) + 1
MASK = np.random.default_rng(1).random((3, 2, 5, 7)) > 0.4
MASK[0, 0, 0] = False
MASK[:, :, 2] = False


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def heads(x, h):
    return x.reshape(*x.shape[:2], h, -1).transpose(0, 2, 1, 3)


def simplified(layer, q, k, v, mask=None, weights=None, h=2):
    q, k, v = (heads(x.astype("float64"), h) for x in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if weights is not None:
        scores = scores * weights
    if mask is not None:
        scores = np.where(mask, scores, -1e300)
    attention = softmax(scores)
    if mask is not None:
        attention = attention * mask
    out = (attention @ v).transpose(0, 2, 1, 3).reshape(q.shape[0], q.shape[2], -1)
    kernel, bias = (numpy(w) for w in layer.weights)
    return out @ kernel + bias, attention


MASKS = {
    "none": None,
    "pairs": MASK[1, 0],
    "batch": MASK[:, 0],
    "one head": MASK[:, :1],
    "heads": MASK,
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_formula(mask, weighted):
    given = MASKS[mask]
    missing = 0 if given is None else 4 - given.ndim  # leading axes, or that of the heads
    full = given if missing == 0 else given[None, None] if missing == 2 else given[:, None]
    weights = draw(3, 2, 5, 7) if weighted else None
    layer = SimplifiedScaledDotProductAttention(num_heads=2)
    layer(Q, K, V)
    randomize(layer)
    expected, map_ = simplified(layer, Q, K, V, full, weights)
    kinds = (given,) if given is None else (given, given.astype("int32"), given.astype("float32"))
    for one in kinds:
        np.testing.assert_allclose(numpy(layer(Q, K, V, one, weights)), expected, atol=1e-5)
    output, attention = layer(Q, K, V, given, weights, return_attention_scores=True)
    np.testing.assert_allclose(numpy(output), expected, atol=1e-5)
    np.testing.assert_allclose(numpy(attention), map_, atol=1e-5)
    assert tuple(attention.shape) == layer.compute_attention_shape(Q.shape, K.shape)


@pytest.mark.parametrize("cls", MASKED)
@pytest.mark.parametrize("asked", [False, True])
def test_hidden_query_and_gradients(cls, asked):
    """A fully masked query gets the bias of the output projection; all gradients are finite."""
    layer = cls(num_heads=2)
    mask = MASK.copy()
    layer(Q, K, V, mask)
    randomize(layer)
    output = layer(Q, K, V, mask, return_attention_scores=asked)
    output = output[0] if asked else output
    bias = numpy(layer.project.bias)
    np.testing.assert_allclose(numpy(output)[:, 2], np.broadcast_to(bias, (3, 8)), atol=1e-6)
    for m in (mask, np.zeros_like(mask), np.zeros((5, 7), bool)):
        for scale in (1, 1e4):
            out, grads, wgrads = value_and_gradients(layer, [Q * scale, K * scale, V * scale, m])
            assert np.isfinite(out).all()
            assert all(np.isfinite(g).all() for g in grads)
            assert all(np.isfinite(g).all() for g in wgrads if g is not None)
            assert np.abs(grads[0][:, 2]).max() == 0


@pytest.mark.parametrize("cls", MASKED)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("value_dim", [None, 3])
def test_masked_key_changes_nothing(cls, policy, asked, value_dim):
    config = {"value_dim": value_dim} if cls is ScaledDotProductAttention else {}
    layer = cls(num_heads=2, dtype=policy, **config)
    mask = np.ones((3, 5, 7), bool)
    mask[:, :, 3] = False
    mask[1, :, 5] = False
    k, v = K.copy(), V.copy()
    k[:, 3], v[:, 3] = 1e2 * draw(3, 8), -1e2
    k[1, 5], v[1, 5] = 77.0, 1e2
    scale = 1e2 if policy != "float32" else 1e4

    def run(q, k, v):
        out = layer(q, k, v, mask, return_attention_scores=asked)
        return numpy(ops.cast(out[0] if asked else out, "float32"))

    for s in (1, scale):
        np.testing.assert_array_equal(run(Q * s, K, V), run(Q * s, k, v))
    assert np.abs(run(Q, K, V) - run(Q, K[:, ::-1], V)).max() > 1e-3


@pytest.mark.parametrize("cls", [*MASKED, UFOAttention])
@pytest.mark.parametrize("sizes", [(5, 7), (None, None)])
def test_symbolic_cross_attention(cls, sizes, tmp_path):
    nq, nk = sizes
    masked = cls in MASKED
    kw, vw = (8, 6) if cls is SimplifiedScaledDotProductAttention else (10, 6)
    ins = [keras.Input((nq, 8)), keras.Input((nk, kw)), keras.Input((nk, vw))]
    extra = [keras.Input((nq, nk), dtype="bool"), keras.Input((2, nq, nk))] if masked else []
    layer = cls(num_heads=2, output_dim=12)
    if masked:
        out, scores = layer(
            ins[0],
            key=ins[1],
            value=ins[2],
            attention_mask=extra[0],
            attention_weights=extra[1],
            return_attention_scores=True,
        )
        assert scores.shape == (None, 2, nq, nk)
    out = layer(*ins, *extra)
    assert out.shape == (None, nq, 12)
    model = keras.Model([*ins, *extra], out)
    randomize(layer)
    path = tmp_path / "m.keras"
    model.save(path)
    again = keras.saving.load_model(path)
    x = [draw(3, 5, 8), draw(3, 7, kw), draw(3, 7, vw)]
    x += [MASK[:, 0], draw(3, 2, 5, 7)] if masked else []
    expected = numpy(layer(*x))
    np.testing.assert_allclose(numpy(model(x)), expected, atol=1e-5)
    np.testing.assert_allclose(numpy(again(x)), expected, atol=1e-5)
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-5)
    assert expected.shape == (3, 5, 12)
    if nq is None:
        x = [draw(2, 4, 8), draw(2, 3, kw), draw(2, 3, vw)]
        x += [np.ones((2, 4, 3), bool), draw(2, 2, 4, 3)] if masked else []
        np.testing.assert_allclose(again.predict(x, verbose=0), numpy(layer(*x)), atol=1e-5)


@pytest.mark.parametrize("cls", [*MASKED, UFOAttention])
def test_symbolic_partial(cls, tmp_path):
    """key alone; map in a functional model; value alone is the query's key."""
    q, k = keras.Input((None, 8)), keras.Input((None, 8))
    layer = cls(num_heads=2)
    model = keras.Model([q, k], layer(q, k))
    np.testing.assert_allclose(numpy(model([Q, K])), numpy(layer(Q, K, K)), atol=1e-5)
    model = keras.Model(q, layer(q))
    np.testing.assert_allclose(numpy(model(Q)), numpy(layer(Q, Q, Q)), atol=1e-5)
    if cls in MASKED:
        layer = cls(num_heads=2)  # Keras wants one number of outputs from all calls of a layer
        model = keras.Model([q, k], layer(q, k, return_attention_scores=True))
        model.save(tmp_path / "m.keras")
        out, scores = keras.saving.load_model(tmp_path / "m.keras").predict([Q, K], verbose=0)
        assert out.shape == (3, 5, 8)
        assert scores.shape == (3, 2, 5, 7)


BAD = {
    "mask transposed": {"attention_mask": np.ones((7, 5), bool)},
    "mask rank 1": {"attention_mask": np.ones(7, bool)},
    "mask batch": {"attention_mask": np.ones((4, 5, 7), bool)},
    "mask keys": {"attention_mask": np.ones((3, 7), bool)},
    "mask heads": {"attention_mask": np.ones((3, 3, 5, 7), bool)},
    "mask rank 5": {"attention_mask": np.ones((1, 3, 2, 5, 7), bool)},
    "weights": {"attention_weights": np.ones((3, 2, 5, 5), "float32")},
}


@pytest.mark.parametrize("cls", MASKED)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("built", [False, True])
def test_bad_masks(cls, bad, built):
    layer = cls(num_heads=2, name="mine")
    if built:
        layer(Q, K, V)
    ((name, x),) = BAD[bad].items()
    with pytest.raises(ValueError, match=f"{cls.__name__} 'mine': `{name}` must have the shape"):
        layer(Q, K, V, **BAD[bad])
    layer = cls(num_heads=2, name="mine")
    symbolic = keras.Input(batch_shape=x.shape)
    q, k = keras.Input(batch_shape=(3, 5, 8)), keras.Input(batch_shape=(3, 7, 8))
    if built:
        layer(q, k, k)
    with pytest.raises(ValueError, match=f"{cls.__name__} 'mine': `{name}` must have the shape"):
        layer(q, k, k, **{name: symbolic})


@pytest.mark.parametrize("cls", [*MASKED, UFOAttention])
@pytest.mark.parametrize("built", [False, True])
def test_bad_inputs(cls, built):
    def fresh():
        layer = cls(num_heads=2, name="mine")
        if built:
            layer(Q, K, V)
        return layer

    for args, words in [
        ((Q, K[:2]), "batch"),
        ((Q, K, V[:2]), "batch"),
        ((Q, K, V[:, :3]), "`key` and `value`"),
        ((Q, K[0]), "`key` must have rank 3"),
        ((Q, K, V[..., None]), "`value` must have rank 3"),
    ]:
        with pytest.raises(ValueError, match=f"{cls.__name__} 'mine': .*{words}"):
            fresh()(*args)
    with pytest.raises(ValueError, match=r"mine"):
        fresh()(Q[0])
    layer = cls(num_heads=2, name="mine")
    layer(Q, K, V)
    for args in [(Q, draw(3, 7, 4), V), (Q, K, draw(3, 7, 4))]:
        with pytest.raises(ValueError, match=r"mine.*built for"):
            layer(*args)
    with pytest.raises(ValueError, match="mine"):
        layer(Q[..., :4], K, V)
    with pytest.raises(ValueError, match="num_heads=3"):
        cls(num_heads=3)(Q)
    with pytest.raises(ValueError, match="known, positive number of channels"):
        cls()(keras.Input((5, None)))
    for config in [
        {"num_heads": 0},
        {"num_heads": 2.0},
        {"dropout": 1.0},
        {"output_dim": 0},
        {"use_bias": 1},
        {"dropout": -0.1},
    ]:
        with pytest.raises(ValueError, match=next(iter(config))):
            cls(**config)


def test_simplified_widths():
    with pytest.raises(ValueError, match="`key` must have as many channels"):
        SimplifiedScaledDotProductAttention(2)(Q, draw(3, 7, 4))
    with pytest.raises(ValueError, match="`value`"):
        SimplifiedScaledDotProductAttention(2)(Q, K, draw(3, 7, 5))


def test_torch_names_need_equal_widths():
    layer = ScaledDotProductAttention(2, key_dim=3)
    layer.build((None, None, 8))
    assert list(layer.torch_names()) == ["collection"]
    layer = ScaledDotProductAttention(2, use_bias=False)
    layer.build((None, None, 8), (None, None, 6))
    rng = np.random.default_rng(0)
    state = {
        "q_proj_weight": rng.random((8, 8)),
        "k_proj_weight": rng.random((8, 6)),
        "v_proj_weight": rng.random((8, 6)),
        "out_proj.weight": rng.random((8, 8)),
    }
    load_torch_weights(layer, state)
    np.testing.assert_allclose(numpy(layer.key.kernel), state["k_proj_weight"].T, atol=1e-6)
    state = {
        "fc_q.weight": rng.random((8, 8)),
        "fc_k.weight": rng.random((8, 6)),
        "fc_v.weight": rng.random((8, 6)),
        "fc_o.weight": rng.random((8, 8)),
    }
    load_torch_weights(layer, state)
    np.testing.assert_allclose(numpy(layer.value.kernel), state["fc_v.weight"].T, atol=1e-6)


@pytest.mark.parametrize("norm_axis", ["key", "value"])
@pytest.mark.parametrize("dims", [{}, {"key_dim": 1, "value_dim": 1}])
def test_ufo_zeros_and_scales(norm_axis, dims):
    layer = UFOAttention(2, norm_axis=norm_axis, use_bias=False, **dims)
    layer(Q, K, V)
    zero = Q.copy()
    zero[:, 1] = 0
    for args in [(zero, K, V), (Q * 0, K, V), (Q, K * 0, V), (Q, K, V * 0), (Q * 0, K * 0, V * 0)]:
        out, grads, wgrads = value_and_gradients(layer, list(args))
        assert np.isfinite(out).all()
        assert all(np.isfinite(g).all() and np.abs(g).max() < 1e3 for g in grads + wgrads)
        if args[0] is zero:
            assert np.abs(out[:, 1]).max() == 0
            assert np.abs(out[:, 0]).max() > 0
        else:
            assert np.abs(out).max() == 0
    expected, grads, _ = value_and_gradients(layer, [Q, K, V])
    for s in (1e-8, 1e-4, 1e4, 1e8):
        f = np.float32(s)
        out, scaled, wgrads = value_and_gradients(layer, [Q * f, K * f, V * f])
        np.testing.assert_allclose(out, expected, atol=1e-5)
        for g, e in zip(scaled, grads, strict=True):
            np.testing.assert_allclose(g * f, e, atol=2e-4)
        assert all(np.isfinite(g).all() for g in wgrads)


def test_ufo_formula():
    layer = UFOAttention(2, key_dim=3, value_dim=5, output_dim=6)
    layer(Q, K, V)
    randomize(layer)
    w = {x.path.split("/", 1)[1]: numpy(x).astype("float64") for x in layer.weights}
    gamma = w["gamma"]

    def norm(x, axis):
        return gamma * x / np.sqrt((x**2).sum(axis, keepdims=True))

    q, k, v = (
        heads(x @ w[f"{n}/kernel"] + w[f"{n}/bias"], 2)
        for x, n in zip((Q, K, V), ("query", "key", "value"), strict=True)
    )
    for norm_axis, axis in {"key": -2, "value": -1}.items():
        layer.norm_axis = norm_axis
        out = norm(q, -1) @ norm(k.swapaxes(-1, -2) @ v, axis)
        out = out.transpose(0, 2, 1, 3).reshape(3, 5, -1) @ w["project/kernel"] + w["project/bias"]
        np.testing.assert_allclose(numpy(layer(Q, K, V)), out, atol=1e-5)


def linear(layer, q, k, v, seen=None):
    """Compute linear attention in float64, with the matrix of all pairs."""
    w = {x.path.split("/", 1)[1]: numpy(x).astype("float64") for x in layer.weights}

    def project(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    q, k, v = (
        heads(project(x, name), layer.num_heads)
        for x, name in zip((q, k, v), ("query", "key", "value"), strict=True)
    )
    q, k = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k))
    weights = q @ k.swapaxes(-1, -2)
    if seen is not None:
        weights = weights * seen
    if layer.causal:
        weights = np.tril(weights)
    out = weights @ v / (weights.sum(-1, keepdims=True) + 1e-6)
    return project(out.transpose(0, 2, 1, 3).reshape(len(q), q.shape[2], -1), "project")


@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("dims", [{}, {"key_dim": 3}, {"value_dim": 5}])
def test_linear_causal(tokens, dims):
    """Whole chunks, a part of one, several; what comes later, however large, changes nothing."""
    layer, x = LinearAttention(2, causal=True, **dims), draw(2, tokens, 8)
    layer(x)
    randomize(layer)
    output = numpy(layer(x))
    np.testing.assert_allclose(output, linear(layer, x, x, x), atol=1e-5)
    layer.causal = False
    np.testing.assert_array_equal(numpy(layer(x, use_causal_mask=True)), output)
    layer.causal = True
    later = x.copy()
    later[:, tokens // 2 + 1 :] *= 1e4
    np.testing.assert_allclose(
        numpy(layer(later))[:, : tokens // 2 + 1], output[:, : tokens // 2 + 1], atol=1e-5
    )


@pytest.mark.parametrize("causal", [False, True])
def test_linear_masks(causal):
    """The key's features are multiplied by 0: as if it was not there, with whatever values."""
    layer = LinearAttention(2, causal=causal)
    key = K if not causal else Q
    nk = key.shape[1]
    layer(Q, key)
    randomize(layer)
    seen = np.random.default_rng(1).random((3, 2, 1, nk)) > 0.4
    for mask in (seen[0, 0], seen[:, 0], seen[:, :1], seen):
        full = mask[:, None] if mask.ndim == 3 else mask
        for kind in ("bool", "int32", "float32"):
            output = layer(Q, key, key, mask.astype(kind))
            np.testing.assert_allclose(numpy(output), linear(layer, Q, key, key, full), atol=1e-5)
    hidden = np.arange(nk) != 1
    other = key.copy()
    other[:, 1] = 1e4
    call = {"attention_mask": np.tile(hidden, (3, 1, 1))}
    np.testing.assert_array_equal(numpy(layer(Q, key, **call)), numpy(layer(Q, other, **call)))
    expected = numpy(layer(Q, key, **call))
    for name in ("key_mask", "value_mask"):
        output = layer(Q, other, **{name: call["attention_mask"][:, 0]})
        np.testing.assert_array_equal(numpy(output), expected)
    none, gradients, wgradients = value_and_gradients(
        layer, [Q, key, key, np.zeros((3, 1, nk), "bool")]
    )
    np.testing.assert_allclose(none, np.broadcast_to(numpy(layer.project.bias), Q.shape), atol=1e-6)
    assert all(np.isfinite(one).all() for one in gradients + wgradients)


def test_linear_refuses():
    for mask in (np.ones((5, 7)), np.ones((3, 7)), np.ones((3, 5, 7)), np.ones((3, 2, 5, 7))):
        with pytest.raises(ValueError, match="one for each query would take a matrix"):
            LinearAttention(2)(Q, K, K, mask.astype("bool"))
    with pytest.raises(ValueError, match=r"`value` must have as many channels.*`key`: 8"):
        LinearAttention(2)(Q, K, draw(3, 7, 4))
    with pytest.raises(ValueError, match="`query` and `key` must have as many tokens"):
        LinearAttention(2, causal=True)(Q, K)
    with pytest.raises(ValueError, match="`query` and `key` must have as many tokens"):
        LinearAttention(2)(Q, K, use_causal_mask=True)
    with pytest.raises(ValueError, match=r"feature_map.*'elu'"):
        LinearAttention(2, feature_map="relu")
    for dims in ({}, {"key_dim": 2}, {"value_dim": 2}):
        with pytest.raises(ValueError, match="num_heads=3"):
            LinearAttention(3, **dims)(Q)
    assert LinearAttention(3, key_dim=2, value_dim=2)(Q, K).shape == Q.shape


def test_linear_with_unknown_lengths():
    inputs = [keras.Input((None, 8)), keras.Input((1, None), dtype="bool")]
    layer = LinearAttention(2, causal=True)
    model = keras.Model(inputs, layer(inputs[0], attention_mask=inputs[1]))
    for tokens in (3, 64, 130):
        x, mask = draw(2, tokens, 8), np.ones((2, 1, tokens), "bool")
        np.testing.assert_allclose(
            model.predict([x, mask], verbose=0), linear(layer, x, x, x), atol=1e-5
        )


def test_differential_names_of_its_authors():
    """timm stacks queries, keys and values; the authors keep them apart, without biases."""
    rng = np.random.default_rng(0)
    authors = {f"{name}_proj.weight": rng.standard_normal((8, 8)) for name in "qkv"}
    shared = {f"lambda_{name}": rng.standard_normal(2) for name in ("q1", "k1", "q2", "k2")}
    last, gamma = rng.standard_normal((8, 8)), rng.standard_normal(4)
    timm = {"qkv.weight": np.concatenate(list(authors.values())), "proj.weight": last}
    layers = [DifferentialAttention(2, depth=1, use_bias=False, causal=True) for _ in range(2)]
    for layer in layers:
        layer.build(Q.shape)
    load_torch_weights(layers[0], shared | timm | {"sub_norm.weight": gamma})
    load_torch_weights(
        layers[1], shared | authors | {"out_proj.weight": last, "subln.weight": gamma}
    )
    np.testing.assert_array_equal(numpy(layers[0](Q)), numpy(layers[1](Q)))


@pytest.mark.parametrize("causal", [False, True])
def test_differential_map(causal):
    """Its rows sum to 1 - lambda; lambda is lambda_0 where the two exponentials are equal."""
    layer = DifferentialAttention(2, depth=2, causal=causal)
    layer(Q)
    for vector in layer.lambdas.values():
        vector.assign([0.3, -0.2])
    output, attention = layer(Q, return_attention_scores=True)
    np.testing.assert_allclose(numpy(attention).sum(-1), 0.2 + 0.6 * np.exp(-0.6), atol=1e-5)
    assert (np.triu(numpy(attention), 1) == 0).all() == causal
    np.testing.assert_array_equal(numpy(output), numpy(layer(Q)))
    later = numpy(layer(np.concatenate([Q[:, :3], -Q[:, 3:]], axis=1)))
    assert np.allclose(later[:, :3], numpy(output)[:, :3], atol=1e-6) == causal


def test_differential_dropout(monkeypatch):
    """It acts on both softmax maps before the difference; the norm after it keeps no mean."""
    layer = DifferentialAttention(2, dropout=0.5)
    plain = numpy(layer(Q))
    np.testing.assert_array_equal(numpy(layer(Q, training=False)), plain)
    assert np.abs(numpy(layer(Q, training=True)) - plain).max() > 0.01
    second_only = ops.cast(np.arange(4) % 2, "float32")[:, None, None]
    monkeypatch.setattr(layer.drop, "call", lambda maps, training: maps * second_only)
    output = numpy(layer(Q, training=True))
    for vector in layer.lambdas.values():  # a factor of the second map: the norm takes it away
        vector.assign(0.5 * numpy(vector))
    np.testing.assert_allclose(numpy(layer(Q, training=True)), output, atol=2e-3)
    assert np.abs(plain - output).max() > 0.01


def test_external_extremes():
    layer = ExternalAttention(6, num_heads=2, expansion=2)
    x = draw(2, 50, 8, scale=1e4)
    out, (g,), w = value_and_gradients(layer, [x])
    assert np.isfinite(out).all()
    assert np.isfinite(g).all()
    assert all(np.isfinite(v).all() for v in w)
    _, attention = layer(x, return_attention_scores=True)
    assert attention.shape == (2, 4, 50, 6)
    total = numpy(attention).sum(-1)
    assert ((total < 1e-3) | (np.abs(total - 1) < 1e-3)).mean() > 0.9


@pytest.mark.parametrize(
    "layer",
    [
        ScaledDotProductAttention(2, dropout=0.5),
        SimplifiedScaledDotProductAttention(2, dropout=0.5),
        UFOAttention(2, dropout=0.5),
        ExternalAttention(6, dropout=0.5),
        ExternalAttention(6, num_heads=2, dropout=0.5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_dropout(layer):
    plain = numpy(layer(Q))
    np.testing.assert_array_equal(numpy(layer(Q, training=False)), plain)
    many = np.stack([numpy(layer(Q, training=True)) for _ in range(300)])
    assert many.std(0).max() > 0.01
    sem = many.std(0) / np.sqrt(300)
    assert (np.abs(many.mean(0) - plain) < 6 * sem + 1e-3).all()


@pytest.mark.parametrize("mask", [None, MASK, MASK[:, 0]], ids=["none", "rank 4", "rank 3"])
def test_causal_and_masked(mask):
    """MUSE shows a query what the mask and the order both allow."""
    layer = MUSEAttention(num_heads=2, causal=True)
    mask = None if mask is None else np.ascontiguousarray(mask[..., :5, :5])
    _, attention = layer(Q, attention_mask=mask, return_attention_scores=True)
    visible = np.tril(np.ones((5, 5), bool))
    if mask is not None:
        visible = visible & (mask[:, None] if mask.ndim == 3 else mask)
    np.testing.assert_array_equal(numpy(attention) > 0, np.broadcast_to(visible, attention.shape))


@pytest.mark.parametrize("batches", [(3, None, None), (None, 3, 3), (3, None, 3)])
def test_symbolic_batches_need_not_be_known(batches):
    q, k, v = (keras.Input(batch_shape=(batch, 5, 8)) for batch in batches)
    assert ScaledDotProductAttention(num_heads=2)(q, k, v).shape[1:] == (5, 8)
    wrong = [keras.Input(batch_shape=(batch, 5, 8)) for batch in (3, 2, 3)]
    with pytest.raises(ValueError, match="one batch size"):
        ScaledDotProductAttention(num_heads=2)(*wrong)
