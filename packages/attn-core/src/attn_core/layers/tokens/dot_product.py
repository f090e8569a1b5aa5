"""Scaled dot-product attention."""

import keras

from attn_core.layers.base import QueryLayer
from attn_core.ops.attention import attend, merge_heads, split_heads
from attn_core.weights.entries import rows, transposed


@keras.saving.register_keras_serializable(package="attn_core")
class ScaledDotProductAttention(QueryLayer):
    r"""Dot-product attention: every query gathers the values whose keys resemble it.

    Query, key and value are projected into several heads; in each, the softmax over the keys of
    their scaled dot products with a query mixes the values, and the heads are projected together:

    $$y = W_o\,[h_1, \dots, h_H], \qquad
    h_i = \mathrm{softmax}\big(Q_i K_i^\top / \sqrt{d_k}\big)\,V_i$$

    Args:
        num_heads: Number of heads H.
        key_dim: Width d_k of a head's queries and keys; `None` = C // num_heads.
        value_dim: Width of a head's values; `None` = `key_dim`.
        output_dim: Width of the output; `None` = C, that of the query.
        use_bias: Whether the four projections have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, nq, C)`.
        key: Tokens, `(B, nk, Ck)`; `None` = the query.
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
        ValueError: If an argument is out of its range; if `key_dim` is `None` and C is not a
            multiple of `num_heads`; if the shapes of the inputs do not fit together.

    Example:
        >>> import numpy as np
        >>> layer = ScaledDotProductAttention(num_heads=4)
        >>> layer(np.ones((2, 9, 32))).shape
        (2, 9, 32)
        >>> causal = np.tril(np.ones((9, 9), "bool"))
        >>> _, attention = layer(
        ...     np.ones((2, 9, 32)), attention_mask=causal, return_attention_scores=True
        ... )
        >>> attention.shape
        (2, 4, 9, 9)

    Reference:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762; numbers as
        PyTorch's `nn.MultiheadAttention`, and xmu-xiaoma666/External-Attention-pytorch
        `ScaledDotProductAttention` where its widths are free.

    Differs from the paper:
        The projections have biases, as in PyTorch (`use_bias=False`: none). A mask is True where a
        query may attend, as in Keras; in PyTorch and in the PyTorch collection it is True where it
        may not. A query without any key, where the formula has no value (the PyTorch collection
        gives NaN), gets zeros from the attention. The TensorFlow collection multiplies the scores
        by its mask, and splits the heads by `d_model` whatever `d_k` is, which mixes tokens or
        raises an error.
    """

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int | None = None,
        value_dim: int | None = None,
        output_dim: int | None = None,
        use_bias: bool = True,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = self.integer("num_heads", num_heads)
        self.key_dim = None if key_dim is None else self.integer("key_dim", key_dim)
        self.value_dim = None if value_dim is None else self.integer("value_dim", value_dim)
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
        """Create the four projections."""
        self.widths = self.check_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape, attention_weights_shape
        )
        width, key_width, value_width = self.widths
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: width})
        key_dim = self.key_dim or self.divisible(
            "the number of channels of `query`", width, "num_heads", self.num_heads
        )
        keys, values = self.num_heads * key_dim, self.num_heads * (self.value_dim or key_dim)
        options = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.query = keras.layers.Dense(keys, name="query", **options)
        self.key = keras.layers.Dense(keys, name="key", **options)
        self.value = keras.layers.Dense(values, name="value", **options)
        self.project = keras.layers.Dense(self.output_dim or width, name="project", **options)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)
        self.query.build((None, width))
        self.key.build((None, key_width))
        self.value.build((None, value_width))
        self.project.build((None, values))

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
            split_heads(self.query(query), self.num_heads),  # (B, nq, heads, key_dim)
            split_heads(self.key(key), self.num_heads),  # (B, nk, heads, key_dim)
            split_heads(self.value(value), self.num_heads),  # (B, nk, heads, value_dim)
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

    def torch_names(self):
        """Name the parameters as the collection does, and where it can be as PyTorch does."""
        inner = {"q": self.query, "k": self.key, "v": self.value}
        collection = {f"fc_{name}": layer for name, layer in {**inner, "o": self.project}.items()}
        width = self.widths[0]
        if any(layer.units != width for layer in collection.values()):
            return collection
        pytorch = {"out_proj": self.project}
        if self.widths == (width, width, width):
            pytorch["in_proj_weight"] = rows(*(layer.kernel for layer in inner.values()))
        else:
            for name, layer in inner.items():
                pytorch[f"{name}_proj_weight"] = transposed(layer.kernel, (1, 0))
        if self.use_bias:
            pytorch["in_proj_bias"] = rows(*(layer.bias for layer in inner.values()))
        return [pytorch, collection]
