"""Relative self-attention (CoAtNet)."""

from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._ops.entries import take
from attn_core._ops.grids import offset_index, resize_offsets
from attn_core._ops.tokens import to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Entry, Schemes
from attn_core.layers._base import ImageLayer, positions
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention


@keras.saving.register_keras_serializable(package="attn_core")
class RelativeSelfAttention(ImageLayer):
    r"""Relative self-attention: every position attends to all, with a bias for each offset.

    The bias depends on the offset from query to key, in rows and columns. Like the weights of a
    convolution, it does not depend on the input. It is added to the scores before the softmax:

    $$y_i = \sum_j \mathrm{softmax}_j(q_i^\top k_j / \sqrt{d} + w_{i-j})\, v_j$$

    for each head; then a linear map combines the heads. w is one number for each head and offset.
    It is initialised from a truncated normal distribution with a standard deviation of 0.02.

    Args:
        num_heads: Number of heads.
        key_dim: Width d of the queries, keys and values of each head.
        output_dim: Number of output channels; `None` = C.
        qkv_bias: Whether the map to queries, keys and values has biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are fixed once the layer is built.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image, `(B, H, W, output_dim)` or `(B, output_dim, H, W)`; with
        `return_attention_scores=True` also the map, `(B, num_heads, H * W, H * W)`, queries before
        keys.

    Raises:
        ValueError: If an argument is out of its range, or the input is not an image of known
            height, width and number of channels.

    Example:
        >>> import numpy as np
        >>> RelativeSelfAttention(num_heads=4, key_dim=8)(np.ones((2, 7, 5, 24))).shape
        (2, 7, 5, 24)

    Reference:
        arXiv:2106.04803. The outputs are the same as those of timm's maxxvit `Attention2d` with
        `RelPosBias`, because the authors released no code.

    Differs from the paper:
        The scores are divided by $\sqrt{d}$, which the paper's formula leaves out. timm's
        `bias=False` also leaves out the bias of the output map: here `qkv_bias=False` keeps it, and
        loading such a checkpoint sets it to zero. The External-Attention collection in PyTorch has
        no relative attention in its CoAtNet; the class of the one in TensorFlow is empty.
    """

    maps = (Attention(),)
    split = {"qkv": "heads", "project": "head inputs"}

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int = 32,
        output_dim: int | None = None,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.key_dim: int = checks.integer(self, "key_dim", key_dim)
        self.output_dim: int | None = checks.optional(
            checks.integer, self, "output_dim", output_dim
        )
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the two linear maps and the table of biases."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        self.size: tuple[int, int] = (height, width)
        self._offsets = offset_index(height, width)
        inner = self.num_heads * self.key_dim
        self.qkv: keras.layers.Dense = dense(
            self, channels, 3 * inner, "qkv", use_bias=self.qkv_bias
        )
        self.project: keras.layers.Dense = dense(
            self, inner, self.output_dim or channels, "project"
        )
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")
        self.build_biases()

    def build_biases(self) -> None:
        """Create the table of biases."""
        height, width = self.size
        self.table: keras.Variable = self.add_weight(
            shape=((2 * height - 1) * (2 * width - 1), self.num_heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            autocast=False,  # each bias serves many pairs: their gradients add up in float32
            name="table",
        )

    def biases(self) -> Tensor:
        """Return the bias of each offset, in the order of `offset_index`, and each head."""
        return self.table

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Let every position of `x` attend to all."""
        qkv = split_heads(to_tokens(self.qkv(self.to_channels_last(x))), self.num_heads)
        query, key, value = ops.split(qkv, 3, axis=-1)  # (B, H * W, heads, key_dim) each
        bias = ops.transpose(take(self.biases(), self._offsets, axis=0), (2, 0, 1))
        output, attention = attend(
            query,
            key,
            value,
            bias=ops.expand_dims(bias, 0),  # (1, heads, H * W, H * W)
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        output = to_image(self.project(merge_heads(output)), *self.size)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with `output_dim` channels."""
        *outer, channels = self.channels_last_shape(input_shape)
        return self.from_channels_last_shape((*outer, self.output_dim or channels))

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention map."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        tokens = positions(height, width)
        return batch, self.num_heads, tokens, tokens

    def resize_from(self, other: "RelativeSelfAttention") -> None:
        """Copy the biases of a layer built for another size, interpolated as in the paper."""
        table = ops.convert_to_numpy(other.table)
        self.table.assign(resize_offsets(table, other.size, self.size))

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does."""
        names: TorchNames = {
            "qkv": self.qkv,
            "rel_pos.relative_position_bias_table": self.table,
            "proj": self.project,
        }
        schemes = Schemes(timm=names)
        if not self.qkv_bias:
            schemes["timm, without biases"] = self._without_output_bias(names)
        return schemes

    def _without_output_bias(self, names: TorchNames) -> TorchNames:
        kernel, bias = self.project.kernel, self.project.bias
        zeros = np.zeros(bias.shape)
        weight = Entry(kernel.shape[::-1], (kernel, bias), lambda array: (array.T, zeros))
        return {name: names[name] for name in names if name != "proj"} | {"proj.weight": weight}
