"""Padding masks, as Keras passes them on from `Embedding(mask_zero=True)` or `Masking`."""

import inspect

import keras
import numpy as np
import pytest
from attn_core import (
    MUSEAttention,
    ScaledDotProductAttention,
    SimplifiedScaledDotProductAttention,
    UFOAttention,
    layers,
)
from cases import CASES, each
from gradients import compiled_call, value_and_gradients
from test_layers import numpy, randomize

TOKENS = [case for case in CASES if not case.is_image]
HEEDING = [case for case in TOKENS if "mask" in inspect.signature(case.cls.call).parameters]
QUERIES = [ScaledDotProductAttention, SimplifiedScaledDotProductAttention, MUSEAttention]


def padded(case, short):
    """Return tokens of which the second sample has `short`, the rest being noise; and the mask."""
    x = case.draw()
    mask = np.ones(x.shape[:-1], bool)
    mask[1, ..., short:] = False
    x[~mask] *= 50
    return x, mask


def test_every_token_layer_heeds_masks():
    tokens = {case.layer for case in TOKENS if issubclass(case.cls, layers.TokenLayer)}
    assert {case.layer for case in HEEDING} == tokens
    assert len(tokens) >= 9


@each(HEEDING)
@pytest.mark.every_backend
def test_padding_changes_nothing(case):
    """Tokens get the same output as without the padding behind them."""
    layer = case.make()
    x, mask = padded(case, 4)
    layer.build(x.shape)
    randomize(layer)
    output = compiled_call(layer, [x], mask=mask)
    alone = compiled_call(layer, [x[1:, ..., :4, :]])
    np.testing.assert_allclose(output[:1], compiled_call(layer, [x])[:1], atol=1e-5)
    np.testing.assert_allclose(output[1:, ..., :4, :], alone, atol=1e-5)
    if not case.config.get("causal"):  # then no token sees the padding behind it anyway
        assert np.abs(output - compiled_call(layer, [x]))[1, ..., :4, :].max() > 1e-4


@pytest.mark.parametrize(
    ("case", "asked"),
    [pytest.param(c, asked, id=f"{c.id}-{asked}") for c in HEEDING for asked in {False, c.has_map}],
)
def test_keras_passes_the_mask(case, asked):
    """The mask of an embedding reaches the layer, and what follows it."""
    layer = case.make()
    x, mask = padded(case, 4)
    layer.build(x.shape)
    randomize(layer)
    table = x.reshape(-1, x.shape[-1])
    table = np.concatenate([np.full_like(table[:1], 9), table])  # the word 0 is padding
    words = np.arange(1, len(table)).reshape(mask.shape) * mask
    ids = keras.Input(words.shape[1:], dtype="int32")
    embed = keras.layers.Embedding(*table.shape, mask_zero=True)
    embed.build()
    embed.embeddings.assign(table)
    asking = {"return_attention_scores": True} if asked else {}
    output = layer(embed(ids), **asking)
    output = output[0] if asked else output
    if mask.ndim == 2:  # the pooling takes no other
        pooled = keras.layers.GlobalAveragePooling1D()(output)
        model = keras.Model(ids, [output, pooled])
    else:
        model = keras.Model(ids, [output, output])
    output, pooled = (numpy(one) for one in model(words))
    np.testing.assert_allclose(output, numpy(layer(table[words], mask=mask)), atol=1e-5)
    if mask.ndim == 2:
        np.testing.assert_allclose(pooled[1], output[1, :4].mean(0), atol=1e-5)


@each(HEEDING)
def test_nothing_but_padding(case):
    """A sample that is padding alone does no harm to numbers and gradients."""
    layer = case.make()
    x = case.draw()
    mask = np.zeros(x.shape[:-1], bool)
    output, grads, weights = value_and_gradients(layer, [x], mask=mask)
    assert np.isfinite(output).all()
    assert all(np.isfinite(g).all() for g in (*grads, *weights) if g is not None)


@each([case for case in HEEDING if case.has_map])
def test_maps_leave_padding_out(case):
    layer = case.make()
    x, mask = padded(case, 4)
    _, attention = layer(x, mask=mask, return_attention_scores=True)
    attention = numpy(attention)[1]
    queries, keys = attention.shape[-2:]
    tokens = mask.shape[-1]
    assert tokens in (queries, keys)
    if keys == tokens:
        assert np.abs(attention[..., 4:]).max() == 0
    if queries == tokens:
        assert np.abs(attention[..., 4:, :]).max() == 0
    assert np.abs(attention).max() > 0


@each([case for case in TOKENS if case not in HEEDING] + [c for c in CASES if c.is_image][::4])
def test_others_refuse(case):
    """A layer through which padding would leak says so."""
    x = keras.Input(case.shape[1:])
    layer = case.make(name="mine")
    marked = keras.layers.Masking()(x) if not case.is_image else x
    if case.is_image:
        x._keras_mask = keras.KerasTensor((None, *case.shape[1:-1]), "bool")
    with pytest.raises(ValueError, match=f"{case.layer} 'mine': .*padding mask.*keras.ops.copy"):
        layer(marked)
    assert layer(keras.ops.copy(x)) is not None


@pytest.mark.parametrize("cls", QUERIES[:2])
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_all_masks_together(cls, asked, causal):
    """Masks are joined as in Keras' MultiHeadAttention."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((3, n, 8)).astype("float32") for n in (5, 7, 7))
    masks = {"query_mask": rng.random((3, 5)) > 0.3, "key_mask": rng.random((3, 7)) > 0.3}
    masks |= {"value_mask": rng.random((3, 7)) > 0.3}
    given = rng.random((3, 5, 7)) > 0.2
    joint = given & masks["query_mask"][:, :, None]
    joint = joint & (masks["key_mask"] & masks["value_mask"])[:, None]
    if causal:
        joint = joint & (np.arange(5)[:, None] >= np.arange(7))
    layer = cls(2)
    arguments = {**masks, "use_causal_mask": causal, "return_attention_scores": asked}
    found = layer(q, k, v, attention_mask=given, **arguments)
    expected = layer(q, k, v, attention_mask=joint, return_attention_scores=asked)
    for one, other in zip(found, expected, strict=True) if asked else [(found, expected)]:
        np.testing.assert_allclose(numpy(one), numpy(other), atol=1e-6)
    assert not joint.all()


@pytest.mark.parametrize("cls", QUERIES[:2])
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 7), (3, 1, 7), (1, 5, 7), (3, 5, 1), (1, 7), (5, 1), (3, 1, 1, 7), (1, 2, 5, 7)],
)
def test_masks_broadcast(cls, asked, shape):
    rng = np.random.default_rng(sum(shape))
    q, k = (rng.standard_normal((3, n, 8)).astype("float32") for n in (5, 7))
    mask = rng.random(shape) > 0.4
    full = mask if mask.ndim > 3 else mask[:, None] if mask.ndim == 3 else mask[None, None]
    full = np.broadcast_to(full, (3, 2, 5, 7)).copy()
    layer = cls(2)
    found = layer(q, k, attention_mask=mask, return_attention_scores=asked)
    expected = layer(q, k, attention_mask=full, return_attention_scores=asked)
    for one, other in zip(found, expected, strict=True) if asked else [(found, expected)]:
        np.testing.assert_allclose(numpy(one), numpy(other), atol=1e-6)


def test_causal():
    """No query sees a later key, as with `use_causal_mask` in Keras' MultiHeadAttention."""
    x = np.random.default_rng(0).standard_normal((2, 6, 8)).astype("float32")
    theirs = keras.layers.MultiHeadAttention(2, 4)
    ours = ScaledDotProductAttention(2)
    theirs(x, x)
    ours(x)
    for name, one in (("query", 0), ("key", 2), ("value", 4)):
        dense = getattr(ours, name)
        dense.kernel.assign(numpy(theirs.weights[one]).reshape(8, 8))
    ours.project.kernel.assign(numpy(theirs.weights[6]).reshape(8, 8))
    expected = numpy(theirs(x, x, use_causal_mask=True))
    np.testing.assert_allclose(numpy(ours(x, use_causal_mask=True)), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"MUSEAttention 'mine': .*causal=True"):
        MUSEAttention(2, name="mine")(x, use_causal_mask=True)
    layer = MUSEAttention(2, causal=True)
    np.testing.assert_array_equal(numpy(layer(x, use_causal_mask=True)), numpy(layer(x)))


@pytest.mark.parametrize("cls", [*QUERIES, UFOAttention])
def test_masks_of_two_inputs(cls):
    """In cross-attention each input brings its own mask, and the output has that of the query."""
    length = 6 if cls is MUSEAttention else 5
    q, k = keras.Input((6,), dtype="int32"), keras.Input((length,), dtype="int32")
    embed = keras.layers.Embedding(9, 8, mask_zero=True)
    layer = cls(2)
    output = layer(embed(q), embed(k))
    model = keras.Model([q, k], [output, keras.layers.GlobalAveragePooling1D()(output)])
    randomize(layer)
    words, others = np.array([[1, 2, 3, 0, 0, 0]]), np.array([[4, 5, 6, 0, 0, 0][:length]])
    output, pooled = (numpy(one) for one in model([words, others]))
    alone = numpy(layer(embed(words[:, :3]), embed(others[:, :3])))
    np.testing.assert_allclose(output[:, :3], alone, atol=1e-5)
    np.testing.assert_allclose(pooled, alone.mean(1), atol=1e-5)


@pytest.mark.parametrize("name", ["mask", "query_mask", "key_mask", "value_mask"])
def test_bad_masks(name):
    x, wrong = np.ones((2, 6, 8), "float32"), np.ones((2, 5), bool)
    shown = "query_mask" if name == "mask" else name
    with pytest.raises(ValueError, match=f"'mine': `{shown}` must have the shape"):
        UFOAttention(2, name="mine")(x, **{name: wrong})
    with pytest.raises(ValueError, match="key_mask"):  # how to get there
        ScaledDotProductAttention(2)(x, attention_mask=wrong)
    with pytest.raises(
        ValueError, match=f"`{name}` must be an array or a tensor.*list of length 2"
    ):
        UFOAttention(2)(x, **{name: [[True] * 6] * 2})
