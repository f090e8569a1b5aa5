"""UFO attention."""

import keras
from keras import ops

from attn_core.layers.base import QueryLayer
from attn_core.ops.attention import merge_heads, split_heads
from attn_core.ops.precision import upcast


def unit(x, axis: int = -1):
    """Scale the vectors along `axis` to length one, those of length zero to zero.

    Dividing by the largest number first changes no result and no gradient, but lets no square
    overflow or underflow.
    """
    largest = ops.max(ops.abs(x), axis=axis, keepdims=True)
    x = x / ops.stop_gradient(ops.where(largest > 1e-30, largest, ops.ones_like(largest)))
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.where(squares > 0, squares, ops.ones_like(squares)))


@keras.saving.register_keras_serializable(package="attn_core")
class UFOAttention(QueryLayer):
    r"""UFO attention: dot-product attention whose softmax is replaced by two normalisations.

    Without a softmax between them the products may be taken in any order: keys and values first,
    into one small matrix for each head, so that time is linear in the tokens:

    $$y = W_o\,\mathrm{XNorm}(Q)\,\mathrm{XNorm}(K^\top V), \qquad
    \mathrm{XNorm}(a) = \gamma\,a / \sqrt{\textstyle\sum a^2}$$

    Args:
        num_heads: Number of heads, each with a gamma of its own.
        key_dim: Width of a head's queries and keys; `None` = C // num_heads.
        value_dim: Width of a head's values; `None` = `key_dim`.
        output_dim: Width of the output; `None` = C, that of the query.
        use_bias: Whether the four projections have biases.
        norm_axis: "key" normalises each column of K^T V, over the key features, so that output is
            made of cosine similarities; "value" each row, over the value features.
        dropout: Rate of dropout on the output.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, nq, C)`.
        key: Tokens, `(B, nk, Ck)`; `None` = the query.
        value: Tokens, `(B, nk, Cv)`; `None` = the key.
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
        Song, "UFO-ViT: High Performance Linear Vision Transformer without Softmax",
        arXiv:2109.14382, whose equations fix the numbers; names of the parameters as
        xmu-xiaoma666/External-Attention-pytorch `UFOAttention`.

    Differs from the paper:
        Zero vectors, which the paper's XNorm divides by zero, stay zero. The PyTorch collection
        normalises K^T V over its last axis (`norm_axis="value"`), draws gamma at random (here it
        starts at one) and never applies its dropout; the TensorFlow collection has no such layer.
    """

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = self.integer("num_heads", num_heads)
        self.key_dim = None if key_dim is None else self.integer("key_dim", key_dim)
        self.value_dim = None if value_dim is None else self.integer("value_dim", value_dim)
        self.output_dim = None if output_dim is None else self.integer("output_dim", output_dim)
        self.use_bias = self.flag("use_bias", use_bias)
        self.norm_axis = self.choice("norm_axis", norm_axis, ("key", "value"))
        self.dropout = self.rate("dropout", dropout)

    def build(self, query_shape, key_shape=None, value_shape=None):
        """Create the four projections and gamma."""
        self.widths = self.check_inputs(query_shape, key_shape, value_shape)
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
        self.gamma = self.add_weight((1, self.num_heads, 1, 1), initializer="ones", name="gamma")
        self.query.build((None, width))
        self.key.build((None, key_width))
        self.value.build((None, value_width))
        self.project.build((None, values))

    def call(self, query, key=None, value=None, training=None):
        """Let `query` gather from the product of `key` and `value`."""
        key = query if key is None else key
        value = key if value is None else value
        self.check_inputs(query.shape, key.shape, value.shape)
        dtype = query.dtype
        query = split_heads(self.query(query), self.num_heads)  # (B, nq, heads, key_dim)
        key = split_heads(self.key(key), self.num_heads)  # (B, nk, heads, key_dim)
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

    def compute_output_shape(self, query_shape, key_shape=None, value_shape=None) -> tuple:
        """Return the shape of the query, `output_dim` channels wide."""
        return super().compute_output_shape(query_shape, key_shape, value_shape)

    def torch_names(self) -> dict:
        """Name the parameters as the collection does."""
        return {
            "fc_q": self.query,
            "fc_k": self.key,
            "fc_v": self.value,
            "fc_o": self.project,
            "gamma": self.gamma,
        }
