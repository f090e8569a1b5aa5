"""Separable self-attention."""

import keras
from keras import ops

from attn_core.layers.base import TokenLayer
from attn_core.ops.precision import softmax
from attn_core.weights.entries import rows


@keras.saving.register_keras_serializable(package="attn_core")
class SeparableSelfAttention(TokenLayer):
    r"""Separable self-attention: one score per token weighs the keys into one context vector.

    The context vector then gates the values of all tokens. Time and memory are linear in the
    number of tokens:

    $$s = \mathrm{softmax}_n(x w_q), \quad c = \sum_n s_n\, x_n W_k, \quad
      y = (\mathrm{relu}(x W_v) \cdot c)\, W_o$$

    Args:
        use_bias: Whether the linear maps have biases.
        dropout: Rate of the dropout on the scores.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`, or patches, `(B, P, N, C)`: every one of the P pixels of a patch has
            scores and a context vector of its own, over the N patches. P and N may be dynamic.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the scores too.

    Returns:
        Tensor of the input's shape; with `return_attention_scores=True` also the context scores,
        which sum to one over the keys: `(B, 1, 1, N)` (heads, queries, keys) of tokens,
        `(B, P, 1, N)` of patches.

    Raises:
        ValueError: If an argument is out of range, or the input is neither tokens nor patches of a
            known number of channels.

    Example:
        >>> import numpy as np
        >>> SeparableSelfAttention()(np.ones((2, 49, 32))).shape
        (2, 49, 32)
        >>> SeparableSelfAttention()(np.ones((2, 4, 49, 32))).shape
        (2, 4, 49, 32)

    Reference:
        Mehta, Rastegari, "Separable Self-attention for Mobile Vision Transformers", TMLR 2023,
        arXiv:2206.02680; numbers and names as apple/ml-cvnets `LinearSelfAttention`.

    Differs from the paper:
        Nothing. The keys are weighed before they are projected, which is the same, as scores sum
        to one, and saves a third of the work; only under dropout does the key's bias enter once,
        where the authors weigh it by the scores that are left. External-Attention-pytorch leaves
        out the relu.
    """

    def __init__(self, *, use_bias: bool = True, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.use_bias = self.flag("use_bias", use_bias)
        self.dropout = self.rate("dropout", dropout)

    def build(self, input_shape):
        """Create the four linear maps."""
        rank = len(input_shape)
        if rank not in (3, 4):
            raise self.error(
                "the input must have rank 3 or 4: (batch, tokens, channels) or (batch, pixels, "
                "patches, channels).",
                f"shape {tuple(input_shape)}",
            )
        channels = self.check_shape(input_shape, rank)
        self.input_spec = keras.layers.InputSpec(ndim=rank, axes={-1: channels})

        def dense(width, name):
            layer = keras.layers.Dense(
                width, use_bias=self.use_bias, dtype=self.dtype_policy, name=name
            )
            layer.build((None, channels))
            return layer

        self.query = dense(1, "query")
        self.key = dense(channels, "key")
        self.value = dense(channels, "value")
        self.project = dense(channels, "project")
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="drop")

    def call(self, x, training=None, return_attention_scores=False):
        """Gate the values of all tokens by the context vector."""
        patches = x if len(x.shape) == 4 else ops.expand_dims(x, 1)  # (B, P, N, C)
        scores = softmax(self.query(patches), axis=2)
        scores = ops.transpose(scores, (0, 1, 3, 2))  # (B, P, 1, N)
        pooled = ops.matmul(self.drop(scores, training=training), patches)  # (B, P, 1, C)
        output = self._in_range(ops.relu(self.value(patches)) * self.key(pooled))  # (B, P, N, C)
        output = self._in_range(self.project(output))
        output = output if len(x.shape) == 4 else ops.squeeze(output, 1)
        return self.result(output, scores, return_attention_scores)

    def _in_range(self, x):
        """Cast to the compute dtype; a product of features that float16 cannot hold saturates."""
        if self.compute_dtype == "float16":
            x = ops.clip(x, -65504.0, 65504.0)
        return ops.cast(x, self.compute_dtype)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the context scores."""
        batch, *pixels, tokens, _ = input_shape
        return (batch, *(pixels or (1,)), 1, tokens)

    def torch_names(self) -> dict:
        """Name the parameters as apple/ml-cvnets does."""
        joint = (self.query, self.key, self.value)
        names = {"qkv_proj.block.conv.weight": rows(*(layer.kernel for layer in joint))}
        if self.use_bias:
            names["qkv_proj.block.conv.bias"] = rows(*(layer.bias for layer in joint))
        return names | {"out_proj.block.conv": self.project}
