"""External attention."""

from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import merge_heads, split_heads
from attn_core._ops.masking import hide_scores
from attn_core._ops.precision import softmax, upcast
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import TokenLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention


@keras.saving.register_keras_serializable(package="attn_core")
class ExternalAttention(TokenLayer):
    r"""External attention: attends to a small learned memory that all samples share.

    The scores between tokens and memory slots are normalised twice: by a softmax over the tokens,
    then by their sum over the slots. They are the weights of the values of the memory. The cost is
    linear in the number of tokens:

    $$y = A\,M_v, \qquad A = \mathrm{norm}_1\big(\mathrm{softmax}_N(x\,M_k^\top)\big)$$

    With `num_heads` or `expansion` above one, a linear map first widens x to C * expansion
    channels, which are split into heads that share the memory; then all heads are projected
    together.

    Args:
        memory_size: Number of memory slots S.
        num_heads: Number of heads before the expansion; a head is C / num_heads wide.
        expansion: Factor by which the width of x and the number of heads are multiplied.
        output_dim: Width of the output; `None` = C.
        use_bias: Whether all linear maps have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`.
        mask: True for real tokens, False for padding, `(B, N)`. Padding does not change the output
            of real tokens. Keras sets this mask if the input has one, for example after an
            `Embedding` with `mask_zero=True`, and passes it on with the output.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Tokens, `(B, N, output_dim)`; with `return_attention_scores=True` also the map (before
        dropout), `(B, num_heads * expansion, N, memory_size)`.

    Raises:
        ValueError: If an argument is out of its range, the input is not tokens of a known number of
            channels, or C is not a multiple of `num_heads`.

    Example:
        >>> import numpy as np
        >>> ExternalAttention(memory_size=16)(np.ones((2, 9, 32))).shape
        (2, 9, 32)

    Reference:
        arXiv:2105.02358. The outputs are the same as those of MenghaoGuo/EANet
        `multi_head_attention_torch.Attention` (with `num_heads=8, expansion=4, use_bias=True`), and
        for one head as those of xmu-xiaoma666/External-Attention-pytorch `ExternalAttention`.

    Differs from the paper:
        In the paper, the tokens are first projected also if there is only one head; in the
        reference for one head they are not. With several heads the authors' code widens the tokens
        by a factor of four. It has a second dropout, on the output, which is left out here. As in
        that code, 1e-9 is added to the sum over the slots: otherwise the sum may underflow to zero,
        which gives NaN in External-Attention-pytorch.
    """

    maps = (Attention(keys="memory slot"),)
    split = {"memory_value": "inputs", "project": "head inputs"}

    def __init__(
        self,
        memory_size: int = 64,
        *,
        num_heads: int = 1,
        expansion: int = 1,
        output_dim: int | None = None,
        use_bias: bool = False,
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.memory_size: int = checks.integer(self, "memory_size", memory_size)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.expansion: int = checks.integer(self, "expansion", expansion)
        self.output_dim: int | None = checks.optional(
            checks.integer, self, "output_dim", output_dim
        )
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    @property
    def _heads(self) -> int:
        """Number of heads after the expansion."""
        return self.num_heads * self.expansion

    def build(self, input_shape: Shape) -> None:
        """Create the memory and, for several heads, the projections around it."""
        channels = self._check_tokens(input_shape)
        width = checks.divisible(
            self, "the number of channels", channels, "num_heads", self.num_heads
        )
        outputs, bias = self.output_dim or channels, {"use_bias": self.use_bias}
        self.expand: keras.layers.Dense | None = None
        self.project: keras.layers.Dense | None = None
        if self._heads > 1:
            wide = channels * self.expansion
            self.expand = dense(self, channels, wide, "expand", **bias)
            self.project = dense(self, wide, outputs, "project", **bias)
            outputs = width
        self.memory_key: keras.layers.Dense = dense(
            self, width, self.memory_size, "memory_key", **bias
        )
        self.memory_value: keras.layers.Dense = dense(
            self, self.memory_size, outputs, "memory_value", **bias
        )
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")

    def call(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Any]:
        """Attend from the tokens of `x` to the memory."""
        self._check_mask("mask", mask, x)
        wide = x if self.expand is None else self.expand(x)
        wide = split_heads(wide, self._heads)  # (B, N, heads, C / num_heads)
        scores = upcast(self.memory_key(wide))  # (B, N, heads, S)
        attention = softmax(hide_scores(scores, mask), axis=1)
        attention = attention / (1e-9 + ops.sum(attention, axis=-1, keepdims=True))
        attention = ops.cast(attention, x.dtype)
        output = self.memory_value(self.drop(attention, training=training))
        output = merge_heads(output)  # (B, N, C * expansion), or output_dim channels for one head
        output = output if self.project is None else self.project(output)
        attention = ops.transpose(attention, (0, 2, 1, 3)) if return_attention_scores else None
        return self.result(output, attention, return_attention_scores)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the input, `output_dim` channels wide."""
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention map."""
        return input_shape[0], self._heads, input_shape[1], self.memory_size

    def torch_names(self) -> TorchNames:
        """Name the parameters as MenghaoGuo/EANet does, for one head as the collection does."""
        if self._heads == 1:
            return {"mk": self.memory_key, "mv": self.memory_value}
        return {
            "trans_dims": self.expand,
            "linear_0": self.memory_key,
            "linear_1": self.memory_value,
            "proj": self.project,
        }
