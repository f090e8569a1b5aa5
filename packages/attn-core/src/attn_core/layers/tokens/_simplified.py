"""Simplified scaled dot-product attention."""

from typing import Any, Unpack

import keras

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import QueryLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention


@keras.saving.register_keras_serializable(package="attn_core")
class SimplifiedScaledDotProductAttention(QueryLayer):
    r"""Dot-product attention without the projections of query, key and value.

    The channels themselves are split into heads. In each head, every query averages the values. The
    weights are a softmax, over the keys, of the scaled dot products of query and keys. Then all
    heads are projected together:

    $$y = W_o\,[h_1, \dots, h_H], \qquad
    h_i = \mathrm{softmax}\big(q_i k_i^\top / \sqrt{C / H}\big)\,v_i$$

    Args:
        num_heads: Number of heads H.
        output_dim: Width of the output; `None` = C, the width of the query.
        use_bias: Whether the output projection has a bias.
        dropout: Rate of dropout on the attention map.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, nq, C)`.
        key: Tokens, `(B, nk, C)`; `None` = the query.
        value: Tokens, `(B, nk, Cv)`; `None` = the key.
        attention_mask: True (or not 0) where a query may attend to a key: `(nq, nk)`,
            `(B, nq, nk)` or `(B, 1 or num_heads, nq, nk)`. If a query may attend to no key, its
            output is the bias of the output projection.
        attention_weights: Factors by which the scaled dot products are multiplied before the mask
            is applied; their shape is one of those of `attention_mask`.
        mask: The same as `query_mask`; Keras sets it if the query is the only input.
        query_mask: True for real queries, False for padding, `(B, nq)`. Keras sets this mask and
            the next two if the inputs have masks, for example after an `Embedding` with
            `mask_zero=True`, and passes the mask of the query on with the output.
        key_mask: True for real keys, False for padding, `(B, nk)`. No query attends to padding.
        value_mask: The same for values.
        use_causal_mask: Whether a query attends only to keys up to its own position.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Tokens, `(B, nq, output_dim)`; with `return_attention_scores=True` also the map (before
        dropout), `(B, num_heads, nq, nk)`.

    Raises:
        ValueError: If an argument is out of its range; if C or Cv is not a multiple of `num_heads`,
            or the key is not C wide; if the shapes of the inputs do not fit together.

    Example:
        >>> import numpy as np
        >>> layer = SimplifiedScaledDotProductAttention(num_heads=4)
        >>> layer(np.ones((2, 9, 32)), np.ones((2, 5, 32))).shape
        (2, 9, 32)

    Reference:
        There is no paper. The outputs are the same as those of
        xmu-xiaoma666/External-Attention-pytorch `SimplifiedScaledDotProductAttention`.

    Differs from the reference:
        A mask is True where a query may attend, as in Keras; in the reference it is True where a
        query may not. If a query may attend to no key, the attention gives zeros; in the reference
        it gives NaN. The width of the values may differ from that of queries and keys. In the
        TensorFlow collection masks raise an error.
    """

    maps = (Attention(),)
    split = {"project": "head inputs"}

    def __init__(
        self,
        num_heads: int = 8,
        *,
        output_dim: int | None = None,
        use_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.output_dim: int | None = checks.optional(
            checks.integer, self, "output_dim", output_dim
        )
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(
        self,
        query_shape: Shape,
        key_shape: Shape | None = None,
        value_shape: Shape | None = None,
        attention_mask_shape: Shape | None = None,
        attention_weights_shape: Shape | None = None,
    ) -> None:
        """Create the output projection."""
        width, key_width, value_width = self._build_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape, attention_weights_shape
        )
        if key_width != width:
            raise checks.error(
                self, f"`key` must have as many channels, axis 2, as `query`: {width}.", key_width
            )
        for name, channels in (("query", width), ("value", value_width)):
            what = f"the number of channels of `{name}`"
            checks.divisible(self, what, channels, "num_heads", self.num_heads)
        self.project: keras.layers.Dense = dense(
            self, value_width, self.output_dim or width, "project", use_bias=self.use_bias
        )
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")

    def call(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        attention_mask: Tensor | None = None,
        attention_weights: Tensor | None = None,
        mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Any]:
        """Average `value`, weighted by how similar `key` is to each `query`."""
        padding = self._padding((query, key, value), mask, query_mask, key_mask, value_mask)
        query, key, value = self._complete(query, key, value, attention_mask, attention_weights)
        output, attention = attend(
            split_heads(query, self.num_heads),  # (B, nq, heads, C / heads)
            split_heads(key, self.num_heads),  # (B, nk, heads, C / heads)
            split_heads(value, self.num_heads),  # (B, nk, heads, Cv / heads)
            mask=attention_mask,
            padding=padding,
            causal=use_causal_mask,
            weights=attention_weights,
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        output = self.project(merge_heads(output))  # (B, nq, output_dim)
        return self.result(output, attention, return_attention_scores)

    def torch_names(self) -> TorchNames:
        """Name the parameters as the collection does."""
        return {"fc_o": self.project}
