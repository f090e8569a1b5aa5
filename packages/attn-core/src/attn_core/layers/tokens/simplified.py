"""Simplified scaled dot-product attention."""

import keras

from attn_core.layers.base import QueryLayer
from attn_core.ops.attention import attend, merge_heads, split_heads


@keras.saving.register_keras_serializable(package="attn_core")
class SimplifiedScaledDotProductAttention(QueryLayer):
    r"""Dot-product attention without the projections of query, key and value.

    The channels themselves are split into heads; in each, the softmax over the keys of their scaled
    dot products with a query mixes the values, and the heads are projected together:

    $$y = W_o\,[h_1, \dots, h_H], \qquad
    h_i = \mathrm{softmax}\big(q_i k_i^\top / \sqrt{C / H}\big)\,v_i$$

    Args:
        num_heads: Number of heads H.
        output_dim: Width of the output; `None` = C, that of the query.
        use_bias: Whether the output projection has a bias.
        dropout: Rate of dropout on the attention map.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, nq, C)`.
        key: Tokens, `(B, nk, C)`; `None` = the query.
        value: Tokens, `(B, nk, Cv)`; `None` = the key.
        attention_mask: True (or not 0) where a query may attend to a key: `(nq, nk)`,
            `(B, nq, nk)` or `(B, 1 or num_heads, nq, nk)`. A query that may attend to no key gets
            the bias of the output projection.
        attention_weights: Factors of the scaled dot products, before the mask; shaped as the mask.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Tokens, `(B, nq, output_dim)`; with `return_attention_scores=True` also the map (before
        dropout), `(B, num_heads, nq, nk)`.

    Raises:
        ValueError: If an argument is out of its range; if C or Cv is not a multiple of `num_heads`,
            or the key not C wide; if the shapes of the inputs do not fit together.

    Example:
        >>> import numpy as np
        >>> layer = SimplifiedScaledDotProductAttention(num_heads=4)
        >>> layer(np.ones((2, 9, 32)), np.ones((2, 5, 32))).shape
        (2, 9, 32)

    Reference:
        There is no paper; numbers as xmu-xiaoma666/External-Attention-pytorch
        `SimplifiedScaledDotProductAttention`.

    Differs from the reference:
        A mask is True where a query may attend, as in Keras; there it is True where it may not, and
        a query without any key gives NaN (here the attention gives zeros). Values may have a width
        of their own. In the TensorFlow collection masks raise an error.
    """

    def __init__(
        self,
        num_heads: int = 8,
        *,
        output_dim: int | None = None,
        use_bias: bool = True,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = self.integer("num_heads", num_heads)
        self.output_dim = None if output_dim is None else self.integer("output_dim", output_dim)
        self.use_bias = self.flag("use_bias", use_bias)
        self.dropout = self.rate("dropout", dropout)

    def build(
        self,
        query_shape,
        key_shape=None,
        value_shape=None,
        attention_mask_shape=None,
        attention_weights_shape=None,
    ):
        """Create the output projection."""
        self.widths = self.check_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape, attention_weights_shape
        )
        width, key_width, value_width = self.widths
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: width})
        if key_width != width:
            raise self.error(
                f"`key` must have as many channels, axis 2, as `query`: {width}.", key_width
            )
        for name, channels in (("query", width), ("value", value_width)):
            what = f"the number of channels of `{name}`"
            self.divisible(what, channels, "num_heads", self.num_heads)
        self.project = keras.layers.Dense(
            self.output_dim or width,
            use_bias=self.use_bias,
            name="project",
            dtype=self.dtype_policy,
        )
        self.drop = keras.layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)
        self.project.build((None, value_width))

    def call(
        self,
        query,
        key=None,
        value=None,
        attention_mask=None,
        attention_weights=None,
        training=None,
        return_attention_scores=False,
    ):
        """Let `query` gather from `value` by its likeness to `key`."""
        key = query if key is None else key
        value = key if value is None else value
        inputs = (query, key, value, attention_mask, attention_weights)
        self.check_inputs(*(None if x is None else x.shape for x in inputs))
        output, attention = attend(
            split_heads(query, self.num_heads),  # (B, nq, heads, C / heads)
            split_heads(key, self.num_heads),  # (B, nk, heads, C / heads)
            split_heads(value, self.num_heads),  # (B, nk, heads, Cv / heads)
            mask=attention_mask,
            weights=attention_weights,
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        output = self.project(merge_heads(output))  # (B, nq, output_dim)
        return self.result(output, attention, return_attention_scores)

    def compute_attention_shape(self, query_shape, key_shape=None) -> tuple:
        """Return the shape of the attention map."""
        keys = query_shape[1] if key_shape is None else key_shape[1]
        return (query_shape[0], self.num_heads, query_shape[1], keys)

    def torch_names(self) -> dict:
        """Name the parameters as the collection does."""
        return {"fc_o": self.project}
