"""External attention."""

import keras
from keras import ops

from attn_core.layers.base import TokenLayer
from attn_core.ops.attention import merge_heads, split_heads
from attn_core.ops.precision import upcast


@keras.saving.register_keras_serializable(package="attn_core")
class ExternalAttention(TokenLayer):
    r"""External attention: attends to a small learned memory shared by all samples.

    The scores of tokens and memory slots are normalised twice, by a softmax over the tokens and by
    their sum over the slots, and mix the memory's values, in time linear in the tokens:

    $$y = A\,M_v, \qquad A = \mathrm{norm}_1\big(\mathrm{softmax}_N(x\,M_k^\top)\big)$$

    With `num_heads` or `expansion` above one, x is first widened to C * expansion channels and
    split into heads that share the memory; the heads are projected together.

    Args:
        memory_size: Number of memory slots S.
        num_heads: Number of heads before the expansion; a head is C / num_heads wide.
        expansion: Factor by which x is widened, and the heads multiplied.
        output_dim: Width of the output; `None` = C.
        use_bias: Whether all linear maps have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`.
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
        Guo, Liu, Mu, Hu, "Beyond Self-attention: External Attention using Two Linear Layers for
        Visual Tasks", TPAMI 2022, arXiv:2105.02358; numbers as MenghaoGuo/EANet
        `multi_head_attention_torch.Attention` (there `num_heads=8, expansion=4, use_bias=True`),
        and for one head as xmu-xiaoma666/External-Attention-pytorch `ExternalAttention`.

    Differs from the paper:
        The paper projects the tokens first also with one head; the reference for one head does not.
        With several heads the authors' code widens them four times, and has a second dropout, on
        its output, which is left out here. As in that code, 1e-9 is added to the sum over the
        slots, which else may underflow to zero, and gives NaN in External-Attention-pytorch.
    """

    def __init__(
        self,
        memory_size: int = 64,
        *,
        num_heads: int = 1,
        expansion: int = 1,
        output_dim: int | None = None,
        use_bias: bool = False,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.memory_size = self.integer("memory_size", memory_size)
        self.num_heads = self.integer("num_heads", num_heads)
        self.expansion = self.integer("expansion", expansion)
        self.output_dim = None if output_dim is None else self.integer("output_dim", output_dim)
        self.use_bias = self.flag("use_bias", use_bias)
        self.dropout = self.rate("dropout", dropout)

    @property
    def heads(self) -> int:
        """Number of heads after the expansion."""
        return self.num_heads * self.expansion

    def build(self, input_shape):
        """Create the memory and, for several heads, the projections around it."""
        channels = self.check_tokens(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: channels})
        width = self.divisible("the number of channels", channels, "num_heads", self.num_heads)
        output = self.output_dim or channels
        options = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.expand = self.project = None
        if self.heads > 1:
            wide = channels * self.expansion
            self.expand = keras.layers.Dense(wide, name="expand", **options)
            self.project = keras.layers.Dense(output, name="project", **options)
            self.expand.build((None, channels))
            self.project.build((None, wide))
            output = width
        self.memory_key = keras.layers.Dense(self.memory_size, name="memory_key", **options)
        self.memory_value = keras.layers.Dense(output, name="memory_value", **options)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)
        self.memory_key.build((None, width))
        self.memory_value.build((None, self.memory_size))

    def call(self, x, training=None, return_attention_scores=False):
        """Attend from the tokens of `x` to the memory."""
        wide = x if self.expand is None else self.expand(x)
        wide = split_heads(wide, self.heads)  # (B, N, heads, C / num_heads)
        scores = upcast(self.memory_key(wide))  # (B, N, heads, S)
        attention = ops.softmax(scores, axis=1)
        attention = attention / (1e-9 + ops.sum(attention, axis=-1, keepdims=True))
        attention = ops.cast(attention, x.dtype)
        output = self.memory_value(self.drop(attention, training=training))
        output = merge_heads(output)  # (B, N, C * expansion), or output_dim channels for one head
        output = output if self.project is None else self.project(output)
        attention = ops.transpose(attention, (0, 2, 1, 3)) if return_attention_scores else None
        return self.result(output, attention, return_attention_scores)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape of the input, `output_dim` channels wide."""
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the attention map."""
        return (input_shape[0], self.heads, input_shape[1], self.memory_size)

    def torch_names(self) -> dict:
        """Name the parameters as MenghaoGuo/EANet does, for one head as the collection does."""
        if self.heads == 1:
            return {"mk": self.memory_key, "mv": self.memory_value}
        return {
            "trans_dims": self.expand,
            "linear_0": self.memory_key,
            "linear_1": self.memory_value,
            "proj": self.project,
        }
