"""Attention whose weights are dot products of features: linear in the number of tokens.

Without a softmax, keys and values are multiplied first, to one small matrix for each head. In
causal order every query has a matrix of its own, a sum over the keys up to it; there the tokens
are cut into chunks. One matrix is stored for each chunk, and within a chunk the dot products of its
queries and keys: memory for N tokens is N * CHUNK + N / CHUNK * key width * value width numbers for
each head, where N matrices would be N * key width * value width, and all pairs of tokens N * N.
"""

from keras import ops

from attn_core._ops.attention import causal_mask
from attn_core._ops.eager import matmul, reshape
from attn_core._ops.precision import upcast
from attn_core._typing import Tensor

CHUNK = 64
"""Tokens of a chunk: about the width of a head, so that both parts cost the same."""


def attend_linearly(
    query: Tensor, key: Tensor, value: Tensor, *, epsilon: float, causal: bool = False
) -> Tensor:
    """Compute q (sum_j k_j v_j^T) / (q . sum_j k_j + epsilon) for each head, in float32.

    Args:
        query: Features of the queries, none negative, `(B, nq, heads, key width)`.
        key: Features of the keys, likewise, `(B, nk, heads, key width)`.
        value: `(B, nk, heads, value width)`.
        epsilon: Added to the sum of the weights of each query.
        causal: Whether query i sees keys 0 to i alone; then nk = nq.

    Returns:
        `(B, nq, heads, value width)`, in the dtype of `value`.
    """
    dtype = value.dtype
    query, key, value = (upcast(x) for x in (query, key, value))
    # A column of ones: the sum of the weights comes out of the same products.
    value = ops.concatenate([value, ops.ones_like(value[..., :1])], axis=-1)
    query, key, value = (ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value))
    if causal:
        sums = _causal_sums(query, key, value)
    else:
        sums = matmul(query, matmul(ops.swapaxes(key, -1, -2), value))
    sums = ops.transpose(sums, (0, 2, 1, 3))  # (B, nq, heads, value width + 1)
    return ops.cast(sums[..., :-1] / (sums[..., -1:] + epsilon), dtype)


def _causal_sums(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return sum_j (q_i . k_j) v_j over all j <= i, `(B, heads, N, value width)`."""
    tokens = ops.shape(query)[2]
    size = min(CHUNK, tokens) if isinstance(tokens, int) else CHUNK
    query, key, value = (_chunks(x, tokens, size) for x in (query, key, value))
    turned = ops.swapaxes(key, -1, -2)  # (B, heads, chunks, key width, size)

    weights = matmul(query, turned)  # (B, heads, chunks, size, size)
    within = matmul(ops.where(causal_mask(size, size), weights, 0.0), value)
    # Of the chunks before, not up to and without its own: the difference would lose digits where
    # a later token is large, and let it act on those before it.
    states = matmul(turned, value)  # (B, heads, chunks, key width, value width)
    before = ops.concatenate([ops.zeros_like(states[:, :, :1]), states[:, :, :-1]], axis=2)
    sums = within + matmul(query, ops.cumsum(before, axis=2))

    heads, width = sums.shape[1], sums.shape[-1]
    return reshape(sums, (-1, heads, _whole(tokens, size), width))[:, :, :tokens]


def _chunks(x: Tensor, tokens: int | Tensor, size: int) -> Tensor:
    """Cut `(B, heads, N, width)` into `(B, heads, chunks, size, width)`; zeros fill the last."""
    whole = _whole(tokens, size)
    x = ops.pad(x, ((0, 0), (0, 0), (0, whole - tokens), (0, 0)))
    return reshape(x, (-1, x.shape[1], whole // size, size, x.shape[-1]))


def _whole(tokens: int | Tensor, size: int) -> int | Tensor:
    """Return the number of tokens, rounded up to whole chunks."""
    return (tokens + size - 1) // size * size
