"""Separable self-attention."""

from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.masking import hide_scores
from attn_core._ops.precision import softmax, upcast
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes, stacked
from attn_core.layers._base import TOKENS, TokenLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention


@keras.saving.register_keras_serializable(package="attn_core")
class SeparableSelfAttention(TokenLayer):
    r"""Separable self-attention: one context vector, a weighted sum of all keys, gates all values.

    Each token has one score, which weights its key in the sum. The value of each token is
    multiplied by the context vector. The cost is linear in the number of tokens, in time and in
    memory:

    $$s = \mathrm{softmax}_n(x w_q), \quad c = \sum_n s_n\, x_n W_k, \quad
      y = (\mathrm{relu}(x W_v) \cdot c)\, W_o$$

    Args:
        use_bias: Whether the linear maps have biases.
        dropout: Rate of the dropout on the scores.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`, or patches, `(B, P, N, C)`: each of the P pixels of a patch has its
            own scores and its own context vector, over the N patches. P and N may be dynamic.
        mask: True for real tokens, False for padding, `(B, N)`, for patches `(B, P, N)`. Padding
            does not change the output of real tokens. Keras sets this mask if the input has one,
            for example after an `Embedding` with `mask_zero=True`, and passes it on with the
            output.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the scores too.

    Returns:
        Tensor of the input's shape; with `return_attention_scores=True` also the context scores,
        which sum to one over the keys: `(B, 1, 1, N)` (heads, queries, keys) for tokens,
        `(B, P, 1, N)` for patches.

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
        arXiv:2206.02680. The outputs and the names of the parameters are the same as those of
        apple/ml-cvnets `LinearSelfAttention`.

    Differs from the paper:
        Without dropout there is no difference. The tokens are weighted before they are projected to
        keys: because the scores sum to one, the result is the same, and a third of the work is
        saved. With dropout, the full bias of the keys is added, while the authors' code multiplies
        it by the sum of the remaining scores. External-Attention-pytorch leaves out the relu.
    """

    maps = (Attention("pixel", "context"),)
    split = {"project": "inputs"}

    def __init__(
        self,
        *,
        use_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the four linear maps."""
        rank = len(input_shape)
        accepted = TOKENS | {4: "(batch, pixels, patches, channels)"}
        channels = self._check_shape(input_shape, accepted)
        self._expect(ndim=rank, axes={-1: channels})
        bias = {"use_bias": self.use_bias}
        self.query: keras.layers.Dense = dense(self, channels, 1, "query", **bias)
        self.key: keras.layers.Dense = dense(self, channels, channels, "key", **bias)
        self.value: keras.layers.Dense = dense(self, channels, channels, "value", **bias)
        self.project: keras.layers.Dense = dense(self, channels, channels, "project", **bias)
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")

    def call(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Any]:
        """Gate the values of all tokens by the context vector."""
        patches = x if len(x.shape) == 4 else ops.expand_dims(x, 1)  # (B, P, N, C)
        scores = upcast(self.query(patches))
        if mask is not None:
            self._check_mask("mask", mask, x)
            scores = hide_scores(scores, mask if len(x.shape) == 4 else ops.expand_dims(mask, 1))
        scores = ops.cast(softmax(scores, axis=2), x.dtype)
        scores = ops.transpose(scores, (0, 1, 3, 2))  # (B, P, 1, N)
        pooled = ops.matmul(self.drop(scores, training=training), patches)  # (B, P, 1, C)
        output = self._in_range(ops.relu(self.value(patches)) * self.key(pooled))  # (B, P, N, C)
        output = self._in_range(self.project(output))
        output = output if len(x.shape) == 4 else ops.squeeze(output, 1)
        return self.result(output, scores, return_attention_scores)

    def _in_range(self, x: Tensor) -> Tensor:
        """Cast to the compute dtype; numbers that float16 cannot hold become its largest."""
        if self.compute_dtype == "float16":
            x = ops.clip(x, -65504.0, 65504.0)
        return ops.cast(x, self.compute_dtype)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the context scores."""
        batch, *pixels, tokens, _ = input_shape
        return (batch, *(pixels or (1,)), 1, tokens)

    def torch_names(self) -> Schemes:
        """Name the parameters as apple/ml-cvnets does, or as timm does."""
        joint = (self.query, self.key, self.value)
        parts = {"weight": stacked(*(layer.kernel for layer in joint))}
        if self.use_bias:
            parts["bias"] = stacked(*(layer.bias for layer in joint))

        def table(end: str) -> TorchNames:
            joined = {f"qkv_proj{end}.{name}": entry for name, entry in parts.items()}
            return joined | {f"out_proj{end}": self.project}

        return Schemes(authors=table(".block.conv"), timm=table(""))
