"""Scaled dot-product attention."""

from typing import Any, Unpack

import keras

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes, stacked, transposed
from attn_core.layers._base import QueryLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention


@keras.saving.register_keras_serializable(package="attn_core")
class ScaledDotProductAttention(QueryLayer):
    r"""Dot-product attention: every query averages the values whose keys are similar to it.

    Query, key and value are projected into several heads. In each head, the weights are a softmax,
    over the keys, of the scaled dot products of query and keys. Then all heads are projected
    together:

    $$y = W_o\,[h_1, \dots, h_H], \qquad
    h_i = \mathrm{softmax}\big(Q_i K_i^\top / \sqrt{d_k}\big)\,V_i$$

    Args:
        num_heads: Number of heads H.
        key_dim: Width $d_k$ of a head's queries and keys; `None` = C // num_heads.
        value_dim: Width of a head's values; `None` = `key_dim`.
        output_dim: Width of the output; `None` = C, the width of the query.
        use_bias: Whether the four projections have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, nq, C)`.
        key: Tokens, `(B, nk, Ck)`; `None` = the query.
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
        arXiv:1706.03762. The outputs are the same as those of PyTorch's `nn.MultiheadAttention`,
        and, if the widths differ from C, of xmu-xiaoma666/External-Attention-pytorch
        `ScaledDotProductAttention`.

    Differs from the paper:
        The projections have biases, as in PyTorch (with `use_bias=False` they have none). A mask is
        True where a query may attend, as in Keras; in PyTorch and in the PyTorch collection it is
        True where a query may not. If a query may attend to no key, the formula is not defined (the
        PyTorch collection gives NaN); here the attention gives zeros. The TensorFlow collection
        multiplies the scores by its mask. It also computes the width of a head from `d_model` and
        ignores `d_k`, which mixes tokens or raises an error.
    """

    maps = (Attention(),)
    split = {"query": "heads", "key": "heads", "value": "heads", "project": "head inputs"}

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int | None = None,
        value_dim: int | None = None,
        output_dim: int | None = None,
        use_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.key_dim: int | None = checks.optional(checks.integer, self, "key_dim", key_dim)
        self.value_dim: int | None = checks.optional(checks.integer, self, "value_dim", value_dim)
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
        """Create the four projections."""
        width, key_width, value_width = self._build_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape, attention_weights_shape
        )
        key_dim = self.key_dim or checks.divisible(
            self, "the number of channels of `query`", width, "num_heads", self.num_heads
        )
        keys, values = self.num_heads * key_dim, self.num_heads * (self.value_dim or key_dim)
        outputs, bias = self.output_dim or width, {"use_bias": self.use_bias}
        self.query: keras.layers.Dense = dense(self, width, keys, "query", **bias)
        self.key: keras.layers.Dense = dense(self, key_width, keys, "key", **bias)
        self.value: keras.layers.Dense = dense(self, value_width, values, "value", **bias)
        self.project: keras.layers.Dense = dense(self, values, outputs, "project", **bias)
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
            split_heads(self.query(query), self.num_heads),  # (B, nq, heads, key_dim)
            split_heads(self.key(key), self.num_heads),  # (B, nk, heads, key_dim)
            split_heads(self.value(value), self.num_heads),  # (B, nk, heads, value_dim)
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

    def torch_names(self) -> Schemes:
        """Name the parameters as the collection does, and as PyTorch does where the widths fit."""
        inner = {"q": self.query, "k": self.key, "v": self.value}
        collection = {f"fc_{name}": layer for name, layer in {**inner, "o": self.project}.items()}
        width = self._widths[0]
        if any(layer.units != width for layer in collection.values()):
            return Schemes(collection=collection)
        pytorch: TorchNames = {"out_proj": self.project}
        if self._widths == (width, width, width):
            pytorch["in_proj_weight"] = stacked(*(layer.kernel for layer in inner.values()))
        else:
            for name, layer in inner.items():
                pytorch[f"{name}_proj_weight"] = transposed(layer.kernel, (1, 0))
        if self.use_bias:
            pytorch["in_proj_bias"] = stacked(*(layer.bias for layer in inner.values()))
        return Schemes(PyTorch=pytorch, collection=collection)
