"""Dot-product attention over `(B, N, heads, width)`: fused where it can be, explicit elsewhere."""

from keras import backend, config, ops

from attn_core.ops.lowering import has_fused_attention
from attn_core.ops.precision import upcast


def hide(scores, mask):
    """Make the scores of hidden keys large and negative, but finite: -inf makes NaN gradients."""
    lowest = -3e4 if backend.standardize_dtype(scores.dtype) == "float16" else -1e30
    return ops.where(mask, scores, ops.cast(lowest, scores.dtype))


def split_heads(x, num_heads: int):
    """Split the channels of `(B, N, heads * width)` into `(B, N, heads, width)`."""
    tokens = ops.shape(x)[1]
    return ops.reshape(x, (-1, tokens, num_heads, x.shape[-1] // num_heads))


def merge_heads(x):
    """Join the heads of `(B, N, heads, width)` into `(B, N, heads * width)`."""
    tokens = ops.shape(x)[1]
    return ops.reshape(x, (-1, tokens, x.shape[2] * x.shape[3]))


def broadcast_scores(x):
    """Give a mask or weights `(nq, nk)`, `(B, nq, nk)` or `(B, h, nq, nk)` the rank of scores."""
    if len(x.shape) == 2:
        return ops.expand_dims(x, (0, 1))
    return ops.expand_dims(x, 1) if len(x.shape) == 3 else x


def attend(
    query,
    key,
    value,
    *,
    scale=None,
    bias=None,
    mask=None,
    weights=None,
    dropout=None,
    training=None,
    return_attention_scores=False,
):
    """Compute softmax(scale * Q K^T * weights + bias) V for each head.

    Args:
        query: `(B, nq, heads, key width)`.
        key: `(B, nk, heads, key width)`.
        value: `(B, nk, heads, value width)`.
        scale: Factor of the scores; `None` = 1 / sqrt(key width).
        bias: Added to the scores; broadcasts to `(B, heads, nq, nk)`.
        mask: True (or not 0) where a query may attend to a key, `(nq, nk)`, `(B, nq, nk)` or
            broadcasting to `(B, heads, nq, nk)`. A query that may attend to no key gets zeros.
        weights: Multiplies the scaled scores, before the bias and the mask; shaped as the mask.
        dropout: Dropout layer for the attention map, or `None`.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the map, `(B, heads, nq, nk)`.

    Returns:
        `(B, nq, heads, value width)` and the map (`None` where it was not asked for).
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    mask = None if mask is None else ops.cast(broadcast_scores(mask), "bool")
    drops = dropout is not None and dropout.rate > 0 and training
    if (
        has_fused_attention()
        and query.shape[-1] == value.shape[-1]
        and weights is None
        and not drops
        and not return_attention_scores
    ):
        return _fused(query, key, value, scale, bias, mask), None

    query = ops.transpose(query, (0, 2, 1, 3))  # (B, heads, nq, key width)
    key = ops.transpose(key, (0, 2, 3, 1))  # (B, heads, key width, nk)
    value = ops.transpose(value, (0, 2, 1, 3))  # (B, heads, nk, value width)
    # Scale first, and in float32: products of half-precision numbers would overflow.
    scores = ops.matmul(upcast(query) * scale, upcast(key))  # (B, heads, nq, nk)
    if weights is not None:
        scores = scores * ops.cast(broadcast_scores(weights), scores.dtype)
    if bias is not None:
        scores = scores + ops.cast(bias, scores.dtype)
    if mask is not None:
        scores = hide(scores, mask)
    attention = ops.softmax(scores)
    if mask is not None:  # a query without any key: the softmax of equal scores is not zero
        attention = ops.where(mask, attention, ops.zeros_like(attention))
    attention = ops.cast(attention, value.dtype)
    dropped = attention if dropout is None else dropout(attention, training=training)
    output = ops.transpose(ops.matmul(dropped, value), (0, 2, 1, 3))
    return output, attention if return_attention_scores else None


def _fused(query, key, value, scale, bias, mask):
    if bias is not None:
        bias = ops.cast(bias, query.dtype)
    if mask is None:
        return ops.dot_product_attention(query, key, value, bias=bias, scale=scale)
    attends = ops.any(mask, axis=-1, keepdims=True)  # (B | 1, heads | 1, nq | 1, 1)
    # A query without any key attends to all, so that no gradient is NaN, and is zeroed below.
    mask = ops.logical_or(mask, ops.logical_not(attends))
    if config.backend() == "torch":
        # Keras takes a bias or a mask there, not both, and its masks leak in float16: -inf, which
        # is PyTorch's own, does not, and no row is all -inf.
        bias = ops.zeros((), query.dtype) if bias is None else bias
        bias, mask = ops.where(mask, bias, ops.cast(-float("inf"), query.dtype)), None
    output = ops.dot_product_attention(query, key, value, bias=bias, mask=mask, scale=scale)
    return ops.where(ops.transpose(attends, (0, 2, 1, 3)), output, ops.zeros_like(output))
