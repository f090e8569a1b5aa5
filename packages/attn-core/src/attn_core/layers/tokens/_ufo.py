"""UFO attention."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import merge_heads, split_heads
from attn_core._ops.masking import hide
from attn_core._ops.precision import upcast
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import QueryLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout


def unit(x: Tensor, axis: int = -1) -> Tensor:
    """Scale the vectors along `axis` to length one; those of length zero stay zero.

    Dividing by the largest number first changes no result and no gradient, and keeps the squares
    from overflow and underflow.
    """
    largest = ops.max(ops.abs(x), axis=axis, keepdims=True)
    x = x / ops.stop_gradient(ops.where(largest > 1e-30, largest, ops.ones_like(largest)))
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.where(squares > 0, squares, ops.ones_like(squares)))


@keras.saving.register_keras_serializable(package="attn_core")
class UFOAttention(QueryLayer):
    r"""UFO attention: dot-product attention whose softmax is replaced by two normalisations.

    Without a softmax between them, the products can be computed in any order. Keys and values are
    multiplied first and give one small matrix for each head, so the time is linear in the number of
    tokens:

    $$y = W_o\,\mathrm{XNorm}(Q)\,\mathrm{XNorm}(K^\top V), \qquad
    \mathrm{XNorm}(a) = \gamma\,a / \sqrt{\textstyle\sum a^2}$$

    Args:
        num_heads: Number of heads; each has its own gamma.
        key_dim: Width of a head's queries and keys; `None` = C // num_heads.
        value_dim: Width of a head's values; `None` = `key_dim`.
        output_dim: Width of the output; `None` = C, the width of the query.
        use_bias: Whether the four projections have biases.
        norm_axis: "key" normalises each column of $K^\top V$, over the key features, so that the
            output consists of cosine similarities; "value" normalises each row, over the value
            features.
        dropout: Rate of dropout on the output.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, nq, C)`.
        key: Tokens, `(B, nk, Ck)`; `None` = the query.
        value: Tokens, `(B, nk, Cv)`; `None` = the key.
        mask: The same as `query_mask`; Keras sets it if the query is the only input.
        query_mask: True for real queries, False for padding, `(B, nq)`. Keras sets this mask and
            the next two if the inputs have masks, for example after an `Embedding` with
            `mask_zero=True`, and passes the mask of the query on with the output.
        key_mask: True for real keys, False for padding, `(B, nk)`. No query attends to padding.
        value_mask: The same for values.
        training: Whether dropout acts.

    Returns:
        Tokens, `(B, nq, output_dim)`.

    Raises:
        ValueError: If an argument is out of its range; if `key_dim` is `None` and C is not a
            multiple of `num_heads`; if the shapes of the inputs do not fit together.

    Example:
        >>> import numpy as np
        >>> UFOAttention(num_heads=4)(np.ones((2, 9, 32))).shape
        (2, 9, 32)

    Reference:
        arXiv:2109.14382. The reference outputs were computed from the paper's equations. The names
        of the parameters are those of xmu-xiaoma666/External-Attention-pytorch `UFOAttention`.

    Differs from the paper:
        Zero vectors stay zero; the paper's XNorm divides by zero there. The PyTorch collection
        normalises $K^\top V$ over its last axis (`norm_axis="value"`), initialises gamma with
        random numbers (here with ones) and never applies its dropout; the TensorFlow collection has
        no such layer.
    """

    split = {"query": "heads", "key": "heads", "value": "heads", "project": "head inputs"}

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int | None = None,
        value_dim: int | None = None,
        output_dim: int | None = None,
        use_bias: bool = True,
        norm_axis: str = "key",
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
        self.norm_axis: str = checks.choice(self, "norm_axis", norm_axis, ("key", "value"))
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(
        self,
        query_shape: Shape,
        key_shape: Shape | None = None,
        value_shape: Shape | None = None,
    ) -> None:
        """Create the four projections and gamma."""
        width, key_width, value_width = self._build_inputs(query_shape, key_shape, value_shape)
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
        self.gamma: keras.Variable = self.add_weight(
            (1, self.num_heads, 1, 1), initializer="ones", name="gamma"
        )

    def call(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Multiply the normalised `query` by the normalised product of `key` and `value`."""
        padding = self._padding((query, key, value), mask, query_mask, key_mask, value_mask)
        query, key, value = self._complete(query, key, value)
        dtype = query.dtype
        query = split_heads(self.query(query), self.num_heads)  # (B, nq, heads, key_dim)
        key = hide(self.key(key), padding.keys)  # padding adds nothing to the sum over the keys
        key = split_heads(key, self.num_heads)  # (B, nk, heads, key_dim)
        value = split_heads(self.value(value), self.num_heads)  # (B, nk, heads, value_dim)

        # In float32: sums of products over the tokens would overflow in half precision.
        key = ops.transpose(upcast(key), (0, 2, 3, 1))
        value = ops.transpose(upcast(value), (0, 2, 1, 3))
        context = ops.matmul(key, value)  # (B, heads, key_dim, value_dim)
        context = unit(context, axis=-2 if self.norm_axis == "key" else -1)
        context = context * ops.square(upcast(self.gamma))  # both of the formula's gammas

        query = ops.cast(unit(upcast(query)), dtype)
        output = ops.matmul(ops.transpose(query, (0, 2, 1, 3)), ops.cast(context, dtype))
        output = merge_heads(ops.transpose(output, (0, 2, 1, 3)))  # (B, nq, heads * value_dim)
        output = ops.cast(self.project(output), dtype)  # Keras' matmul narrows float64 on PyTorch
        return self.drop(output, training=training)

    def compute_output_shape(
        self,
        query_shape: Shape,
        key_shape: Shape | None = None,
        value_shape: Shape | None = None,
    ) -> Shape:
        """Return the shape of the query, `output_dim` channels wide."""
        return super().compute_output_shape(query_shape, key_shape, value_shape)

    def torch_names(self) -> TorchNames:
        """Name the parameters as the collection does."""
        return {
            "fc_q": self.query,
            "fc_k": self.key,
            "fc_v": self.value,
            "fc_o": self.project,
            "gamma": self.gamma,
        }
