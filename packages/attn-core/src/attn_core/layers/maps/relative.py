"""Relative self-attention (CoAtNet)."""

import keras
import numpy as np
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.attention import attend, merge_heads
from attn_core.ops.grids import resize_grid
from attn_core.weights.entries import Entry


@keras.saving.register_keras_serializable(package="attn_core")
class RelativeSelfAttention(ImageLayer):
    r"""Relative self-attention: every position attends to all, with a bias for each offset.

    The bias depends on where the key lies as seen from the query, by rows and columns, and not on
    the input, as the weights of a convolution do; it is added before the softmax:

    $$y_i = \sum_j \mathrm{softmax}_j(q_i^\top k_j / \sqrt{d} + w_{i-j})\, v_j$$

    for each head, then a linear map over the heads. w is a number for each head and offset, and
    starts truncated normal, of standard deviation 0.02.

    Args:
        num_heads: Number of heads.
        key_dim: Width of the queries, keys and values of each head.
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
        Dai, Liu, Le, Tan, "CoAtNet: Marrying Convolution and Attention for All Data Sizes", NeurIPS
        2021, arXiv:2106.04803; numbers as timm's maxxvit `Attention2d` with `RelPosBias`, the
        authors having released no code.

    Differs from the paper:
        The scores are divided by sqrt(key_dim), which the paper's formula leaves out. timm's
        `bias=False` leaves out the bias of the output map too: here `qkv_bias=False` keeps it, and
        loading such a checkpoint sets it to zero. The PyTorch collection has no relative attention
        in its CoAtNet; the TensorFlow one holds a stub.
    """

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int = 32,
        output_dim: int | None = None,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = self.integer("num_heads", num_heads)
        self.key_dim = self.integer("key_dim", key_dim)
        self.output_dim = None if output_dim is None else self.integer("output_dim", output_dim)
        self.qkv_bias = self.flag("qkv_bias", qkv_bias)
        self.dropout = self.rate("dropout", dropout)

    def build(self, input_shape):
        """Create the two linear maps and the table of biases."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        self.size = (height, width)
        self.index = offset_index(height, width)
        inner = self.num_heads * self.key_dim
        options = {"dtype": self.dtype_policy}
        self.qkv = keras.layers.Dense(3 * inner, use_bias=self.qkv_bias, name="qkv", **options)
        self.project = keras.layers.Dense(self.output_dim or channels, name="project", **options)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", **options)
        self.qkv.build((None, channels))
        self.project.build((None, inner))
        self.table = self.add_weight(
            shape=((2 * height - 1) * (2 * width - 1), self.num_heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            autocast=False,  # each bias serves many pairs: their gradients add up in float32
            name="table",
        )

    def call(self, x, training=None, return_attention_scores=False):
        """Let every position of `x` attend to all."""
        height, width = self.size
        qkv = self.qkv(self.to_channels_last(x))
        qkv = ops.reshape(qkv, (-1, height * width, self.num_heads, 3 * self.key_dim))
        query, key, value = ops.split(qkv, 3, axis=-1)  # (B, H * W, heads, key_dim) each
        bias = ops.transpose(ops.take(self.table, self.index, axis=0), (2, 0, 1))
        output, attention = attend(
            query,
            key,
            value,
            bias=ops.expand_dims(bias, 0),  # (1, heads, H * W, H * W)
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        output = self.project(merge_heads(output))
        output = ops.reshape(output, (-1, height, width, output.shape[-1]))
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape with `output_dim` channels."""
        *outer, channels = self.channels_last_shape(input_shape)
        return self.own_shape((*outer, self.output_dim or channels))

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the attention map."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        tokens = height * width if height and width else None
        return batch, self.num_heads, tokens, tokens

    def resize_from(self, other: "RelativeSelfAttention") -> None:
        """Take the biases of a layer built for another size, interpolated as the paper does."""
        rows, columns = (2 * length - 1 for length in other.size)
        offsets = ops.convert_to_numpy(other.table).reshape(rows, columns, self.num_heads)
        rows, columns = (2 * length - 1 for length in self.size)
        table = resize_grid(offsets, rows, columns, align_corners=True)
        self.table.assign(table.reshape(-1, self.num_heads))

    def torch_names(self) -> dict | list[dict]:
        """Name the parameters as timm does."""
        names = {
            "qkv": self.qkv,
            "rel_pos.relative_position_bias_table": self.table,
            "proj": self.project,
        }
        return names if self.qkv_bias else [names, self._without_output_bias(names)]

    def _without_output_bias(self, names: dict) -> dict:
        kernel, bias = self.project.kernel, self.project.bias
        zeros = np.zeros(bias.shape)
        weight = Entry(kernel.shape[::-1], (kernel, bias), lambda array: (array.T, zeros))
        return {name: names[name] for name in names if name != "proj"} | {"proj.weight": weight}


def offset_index(height: int, width: int) -> np.ndarray:
    """Number the offset between each query and each key: `(H * W, H * W)`.

    Offsets, query minus key, are ordered by rows, then columns, from the most negative.
    """
    row, column = (axis.reshape(-1) for axis in np.indices((height, width)))
    rows = np.subtract.outer(row, row) + height - 1
    columns = np.subtract.outer(column, column) + width - 1
    return (rows * (2 * width - 1) + columns).astype("int32")
