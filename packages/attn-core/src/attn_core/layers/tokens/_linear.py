"""Linear attention."""

from typing import ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import broadcast_scores, merge_heads, split_heads
from attn_core._ops.linear import attend_linearly
from attn_core._ops.masking import hide
from attn_core._ops.precision import upcast
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import QueryLayer, Split
from attn_core.layers._children import dense


@keras.saving.register_keras_serializable(package="attn_core")
class LinearAttention(QueryLayer):
    r"""Linear attention: weights by dot products of features, at a cost linear in the tokens.

    A positive feature map replaces the exponential function of the softmax. Then the products can
    be computed in any order. Keys and values are multiplied first, so there is no matrix of all
    pairs of tokens:

    $$y_i = W_o\,\frac{\phi(q_i) \sum_j \phi(k_j)\, v_j^\top}
        {\phi(q_i) \cdot \sum_j \phi(k_j) + 10^{-6}}, \qquad \phi(t) = \mathrm{elu}(t) + 1$$

    in each head, without a scale; all projections have biases. The sums are over all keys, or with
    `causal=True` over $j \le i$. Causal sums are taken in chunks of 64 tokens: memory is linear in
    the number of tokens there too.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a head's queries and keys; `None` = C // num_heads.
        value_dim: Width of a head's values; `None` = C // num_heads.
        feature_map: The feature map $\phi$: "elu" is the only one.
        causal: Whether a token attends only to itself and earlier tokens; then there must be as
            many keys as queries.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, nq, C)`.
        key: Tokens, `(B, nk, Ck)`; `None` = the query.
        value: Tokens, `(B, nk, Ck)`, as wide as the key; `None` = the key.
        attention_mask: True (or not 0) for the keys that queries may attend to: `(1, nk)`,
            `(B, 1, nk)` or `(B, heads, 1, nk)`, where B and heads may be 1. It sets $\phi(k)$ of
            the other keys to zero. The axis of the queries must have length one: a separate mask
            for each query would be a matrix of all pairs, and raises an error. If there is no key
            to attend to, the output is the bias of the output projection.
        mask: The same as `query_mask`; Keras sets it if the query is the only input.
        query_mask: True for real queries, False for padding, `(B, nq)`. Keras sets this mask and
            the next two if the inputs have masks, for example after an `Embedding` with
            `mask_zero=True`, and passes the mask of the query on with the output.
        key_mask: True for real keys, False for padding, `(B, nk)`: $\phi(k)$ of padding is zero.
        value_mask: The same for values.
        use_causal_mask: Whether this call is causal, as with `causal=True`.

    Returns:
        Tokens, `(B, nq, C)`.

    Raises:
        ValueError: If an argument is out of its range; if a width is `None` and C is not a multiple
            of `num_heads`; if the shapes of the inputs do not fit together, or a mask is not the
            same for all queries.

    Example:
        >>> import numpy as np
        >>> layer = LinearAttention(num_heads=4)
        >>> layer(np.ones((2, 900, 32))).shape
        (2, 900, 32)
        >>> tokens = np.arange(900) < np.array([[900], [500]])
        >>> layer(np.ones((2, 900, 32)), mask=tokens).shape
        (2, 900, 32)

    Reference:
        arXiv:2006.16236. The outputs and the names of the parameters are the same as those of
        idiap/fast-transformers `AttentionLayer` around `LinearAttention`, or
        `CausalLinearAttention` with `causal=True`.

    Differs from the paper:
        There is no difference; the 1e-6 in the denominator comes from the reference. There, the
        width of the output, and of the input of keys and values, is that of the model. The
        reference raises an error for masks of all pairs that are not causal; so does this layer.
        The reference computes causal sums token by token with a custom kernel; this layer computes
        them in chunks without a custom kernel, so the results differ by rounding.
    """

    split: ClassVar[dict[str, Split]] = {
        "query": "heads",
        "key": "heads",
        "value": "heads",
        "project": "head inputs",
    }

    output_dim: None = None  # the output is as wide as the query

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int | None = None,
        value_dim: int | None = None,
        feature_map: str = "elu",
        causal: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.key_dim: int | None = checks.optional(checks.integer, self, "key_dim", key_dim)
        self.value_dim: int | None = checks.optional(checks.integer, self, "value_dim", value_dim)
        self.feature_map: str = checks.choice(self, "feature_map", feature_map, ("elu",))
        self.causal: bool = checks.flag(self, "causal", causal)

    def _check_inputs(
        self, query_shape: Shape, key_shape: Shape | None = None, *shapes: Shape | None
    ) -> tuple[int, int, int]:
        """Check the shapes of all inputs: keys and values are equally wide."""
        widths = super()._check_inputs(query_shape, key_shape, *shapes)
        _, key_width, value_width = widths
        if value_width != key_width:
            raise checks.error(
                self,
                f"`value` must have as many channels, axis 2, as `key`: {key_width}.",
                value_width,
            )
        if self.causal:
            self._check_equal_lengths(query_shape, key_shape)
        return widths

    def _check_scores(self, name: str, shape: Shape | None, scores: Shape) -> None:
        """Check a mask: it is the same for all queries."""
        if shape is not None and (len(shape) < 2 or shape[-2] != 1):
            batch, heads, _, keys = scores
            raise checks.error(
                self,
                f"`{name}` must have the shape (1, keys), (batch, 1, keys) or (batch, heads, 1, "
                f"keys), here with (batch, heads, keys) = {(batch, heads, keys)}: one for each "
                "query would take a matrix of all pairs, and `causal=True` needs none. A mask of "
                "padding, (batch, keys), is passed as `key_mask`.",
                f"shape {tuple(shape)}",
            )
        super()._check_scores(name, shape, (*scores[:2], 1, scores[3]))

    def build(
        self,
        query_shape: Shape,
        key_shape: Shape | None = None,
        value_shape: Shape | None = None,
        attention_mask_shape: Shape | None = None,
    ) -> None:
        """Create the four projections."""
        width, key_width, _ = self._build_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape
        )

        def inner(one_head: int | None) -> int:
            return self.num_heads * (
                one_head
                or checks.divisible(
                    self, "the number of channels of `query`", width, "num_heads", self.num_heads
                )
            )

        keys, values = inner(self.key_dim), inner(self.value_dim)
        self.query: keras.layers.Dense = dense(self, width, keys, "query")
        self.key: keras.layers.Dense = dense(self, key_width, keys, "key")
        self.value: keras.layers.Dense = dense(self, key_width, values, "value")
        self.project: keras.layers.Dense = dense(self, values, width, "project")

    def call(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        attention_mask: Tensor | None = None,
        mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        use_causal_mask: bool = False,
    ) -> Tensor:
        """Average `value`, weighted by the features of `key` and `query`."""
        padding = self._padding((query, key, value), mask, query_mask, key_mask, value_mask)
        query, key, value = self._complete(query, key, value, attention_mask)
        if use_causal_mask:
            self._check_equal_lengths(query.shape, key.shape)
        query = _features(split_heads(self.query(query), self.num_heads))  # (B, nq, heads, key_dim)
        key = _features(split_heads(self.key(key), self.num_heads))  # (B, nk, heads, key_dim)
        value = split_heads(self.value(value), self.num_heads)  # (B, nk, heads, value_dim)
        key = hide(key, padding.keys)
        if attention_mask is not None:
            seen = ops.cast(broadcast_scores(attention_mask), "bool")  # (B | 1, heads | 1, 1, nk)
            key = ops.where(ops.transpose(seen, (0, 3, 1, 2)), key, 0.0)
        causal = self.causal or use_causal_mask
        output = attend_linearly(query, key, value, epsilon=1e-6, causal=causal)
        return self.result(self.project(merge_heads(output)), None, False)

    def compute_output_shape(
        self,
        query_shape: Shape,
        key_shape: Shape | None = None,
        value_shape: Shape | None = None,
        attention_mask_shape: Shape | None = None,
    ) -> Shape:
        """Return the shape of the query."""
        return super().compute_output_shape(
            query_shape, key_shape, value_shape, attention_mask_shape
        )

    def torch_names(self) -> TorchNames:
        """Name the parameters as idiap/fast-transformers does."""
        return {
            "query_projection": self.query,
            "key_projection": self.key,
            "value_projection": self.value,
            "out_projection": self.project,
        }


def _features(x: Tensor) -> Tensor:
    """Return elu(x) + 1 in float32, where it is exp(x) without a loss of digits for x < 0."""
    x = upcast(x)
    return ops.where(x > 0, x + 1.0, ops.exp(ops.minimum(x, 0.0)))
