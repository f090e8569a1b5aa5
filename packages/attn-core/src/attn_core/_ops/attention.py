"""Dot-product attention over `(B, N, heads, width)`: a fused kernel where there is one."""

from functools import reduce
from typing import NamedTuple

import keras
from keras import ops

from attn_core._ops.eager import matmul, reshape
from attn_core._ops.lowering import on_torch, uses_fused_attention
from attn_core._ops.masking import hide
from attn_core._ops.precision import softmax, upcast
from attn_core._typing import Tensor

if keras.config.backend() == "torch":
    from attn_core._ops import kernels_torch


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Split the channels of `(B, N, heads * width)` into `(B, N, heads, width)`."""
    tokens = ops.shape(x)[1]
    return reshape(x, (-1, tokens, num_heads, x.shape[-1] // num_heads))


def merge_heads(x: Tensor) -> Tensor:
    """Join the heads of `(B, N, heads, width)` into `(B, N, heads * width)`."""
    tokens = ops.shape(x)[1]
    return reshape(x, (-1, tokens, x.shape[2] * x.shape[3]))


def broadcast_scores(x: Tensor) -> Tensor:
    """Give a mask or weights `(nq, nk)`, `(B, nq, nk)` or `(B, h, nq, nk)` the rank of scores."""
    if len(x.shape) == 2:
        return ops.expand_dims(x, (0, 1))
    return ops.expand_dims(x, 1) if len(x.shape) == 3 else x


class Padding(NamedTuple):
    """Which queries `(B, nq)` and keys `(B, nk)` are tokens, and not padding; `None` = all."""

    queries: Tensor | None = None
    keys: Tensor | None = None


NO_PADDING = Padding()


def causal_mask(queries: int | Tensor, keys: int | Tensor) -> Tensor:
    """Return where a query may attend to a key if it may not to later ones, `(nq, nk)`."""
    return ops.expand_dims(ops.arange(0, queries), 1) >= ops.expand_dims(ops.arange(0, keys), 0)


def _visible(
    query: Tensor, key: Tensor, mask: Tensor | None, keys: Tensor | None, causal: bool
) -> Tensor | None:
    """Return where a query may attend to a key, broadcasting to `(B, heads, nq, nk)`."""
    masks = [] if mask is None else [ops.cast(broadcast_scores(mask), "bool")]
    if keys is not None:
        masks.append(ops.expand_dims(ops.cast(keys, "bool"), (1, 2)))  # (B, 1, 1, nk)
    if causal:
        masks.append(broadcast_scores(causal_mask(ops.shape(query)[1], ops.shape(key)[1])))
    return reduce(ops.logical_and, masks) if masks else None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    padding: Padding = NO_PADDING,
    causal: bool = False,
    weights: Tensor | None = None,
    dropout: keras.layers.Dropout | None = None,
    training: bool | None = None,
    return_attention_scores: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Compute softmax(scale * Q K^T * weights + bias) V for each head.

    Args:
        query: `(B, nq, heads, key width)`.
        key: `(B, nk, heads, key width)`.
        value: `(B, nk, heads, value width)`.
        scale: Factor of the scores; `None` = 1 / sqrt(key width).
        bias: Added to the scores; broadcasts to `(B, heads, nq, nk)`.
        mask: True (or not 0) where a query may attend to a key, `(nq, nk)`, `(B, nq, nk)` or
            broadcasting to `(B, heads, nq, nk)`. A query that may attend to no key gets zeros.
        padding: Which queries and which keys are tokens, and not padding.
        causal: Whether a query may attend only to the keys up to its own position.
        weights: Multiplies the scaled scores, before the bias and the mask; its shape is as that of
            the mask.
        dropout: Dropout layer for the attention map, or `None`.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the map, `(B, heads, nq, nk)`.

    Returns:
        `(B, nq, heads, value width)` and the map (`None` where it was not asked for).
    """
    drops = dropout is not None and dropout.rate > 0 and training
    if (
        uses_fused_attention()
        and query.shape[-1] == value.shape[-1]
        and weights is None
        and not drops
        and not return_attention_scores
    ):
        mask = _visible(query, key, mask, padding.keys, causal)
        scale = _scale(query) if scale is None else scale
        return hide(_fused(query, key, value, scale, bias, mask), padding.queries), None
    attention = attention_map(
        query,
        key,
        scale=scale,
        bias=bias,
        mask=mask,
        padding=padding,
        causal=causal,
        weights=weights,
    )
    attention = ops.cast(attention, value.dtype)
    dropped = attention if dropout is None else dropout(attention, training=training)
    return weighted_sum(dropped, value), attention if return_attention_scores else None


def attention_map(
    query: Tensor,
    key: Tensor,
    *,
    scale: float | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    padding: Padding = NO_PADDING,
    causal: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the map of `attend`, which has the same arguments: `(B, heads, nq, nk)`, float32."""
    scale = _scale(query) if scale is None else scale
    mask = _visible(query, key, mask, padding.keys, causal)
    query = ops.transpose(query, (0, 2, 1, 3))  # (B, heads, nq, key width)
    key = ops.transpose(key, (0, 2, 3, 1))  # (B, heads, key width, nk)
    # Scale first, and in float32: products of half-precision numbers would overflow.
    scores = matmul(upcast(query) * scale, upcast(key))  # (B, heads, nq, nk)
    if weights is not None:
        scores = scores * ops.cast(broadcast_scores(weights), scores.dtype)
    if bias is not None:
        scores = scores + ops.cast(bias, scores.dtype)
    if mask is not None:
        # A large finite number: -inf makes NaN gradients.
        scores = ops.where(mask, scores, ops.cast(-1e30, scores.dtype))
    attention = softmax(scores)
    if mask is not None:  # a query that may attend to no key has equal scores: not zero yet
        attention = ops.where(mask, attention, ops.zeros_like(attention))
    if padding.queries is not None:
        attention = hide(attention, ops.expand_dims(padding.queries, 1))
    return attention


def weighted_sum(attention: Tensor, value: Tensor) -> Tensor:
    """Add values `(B, nk, heads, width)` up by a map `(B, heads, nq, nk)`."""
    output = matmul(attention, ops.transpose(value, (0, 2, 1, 3)))
    return ops.transpose(output, (0, 2, 1, 3))  # (B, nq, heads, width)


def _scale(query: Tensor) -> float:
    return query.shape[-1] ** -0.5


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    bias: Tensor | None,
    mask: Tensor | None,
) -> Tensor:
    if bias is not None:
        bias = ops.cast(bias, query.dtype)
    if mask is None:
        return _kernel(query, key, value, scale, bias, None)
    attends = ops.any(mask, axis=-1, keepdims=True)  # (B | 1, heads | 1, nq | 1, 1)
    # A query that may attend to no key attends to all here, so that no gradient is NaN; below it
    # gets zeros.
    mask = ops.logical_or(mask, ops.logical_not(attends))
    output = _kernel(query, key, value, scale, bias, mask)
    return ops.where(ops.transpose(attends, (0, 2, 1, 3)), output, ops.zeros_like(output))


def _kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    bias: Tensor | None,
    mask: Tensor | None,
) -> Tensor:
    """Call the backend's kernel, with a mask that lets each query attend to some key."""
    if not on_torch():
        return ops.dot_product_attention(query, key, value, bias=bias, mask=mask, scale=scale)
    if mask is not None:  # PyTorch takes a bias or a mask, not both
        bias = ops.zeros((), query.dtype) if bias is None else bias
        bias = ops.where(mask, bias, ops.cast(-float("inf"), query.dtype))
    return kernels_torch.attention(query, key, value, scale, bias)
