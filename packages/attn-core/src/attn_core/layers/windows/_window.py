"""Window attention (Swin)."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend
from attn_core._ops.entries import take
from attn_core._ops.grids import offset_index, resize_offsets
from attn_core._ops.windows import (
    from_windows,
    merge_window_heads,
    split_window_heads,
    to_windows,
    window_scores,
)
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, Split, positions
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Map, Windows


@keras.saving.register_keras_serializable(package="attn_core")
class WindowAttention(ImageLayer):
    r"""Window attention: the pixels of each window attend to each other, with relative positions.

    The image is cut into windows of s x s pixels. With a shift, the pixels of the image are first
    rolled upwards and to the left, so that the windows cross the borders of the windows without a
    shift. For each head

    $$y_p = \sum_{n \in \mathrm{window}(p)} \mathrm{softmax}_n\Big(\frac{q_p \cdot k_n}{\sqrt d}
        + t_{p-n} + m_{p,n}\Big)\, v_n$$

    and then a linear map combines the heads. q, k and v are linear maps of the pixels, and d = C /
    num_heads. t is one number for each head and offset; its table has 2s - 1 rows and columns and
    is initialised from a truncated normal distribution with a standard deviation of 0.02. m is 0,
    except with a shift, when it is -100 if p and n come from opposite sides of the image.

    Args:
        window_size: Side s of the windows. If the height or the width of the image is not larger
            than this when the layer is built, s is the shorter side, and there is no shift.
        shift_size: Number of pixels by which the image is rolled; less than `window_size`. In the
            paper's networks it is alternately 0 and `window_size // 2`.
        num_heads: Number of heads; divides C.
        qkv_bias: Whether queries, keys and values have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are multiples of s, and may be dynamic.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the map,
        `(B, num_heads, windows, s * s, s * s)` in both data formats. The windows of the rolled
        image, and the pixels of each, are in the order of rows, then columns.

    Raises:
        ValueError: If an argument is out of range, `num_heads` does not divide C, s does not divide
            H and W, or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> layer = WindowAttention(4, shift_size=2, num_heads=4, data_format="channels_last")
        >>> layer(np.ones((2, 8, 12, 32))).shape
        (2, 8, 12, 32)

    Reference:
        arXiv:2103.14030. The outputs are the same as those of microsoft/Swin-Transformer
        `SwinTransformerBlock` without its norms, MLP and shortcut. The names of the parameters are
        those of its `WindowAttention`, or of timm's.

    Differs from the paper:
        As in the released code, -100 is added to a pair of pixels that must not attend to each
        other; the paper leaves such pairs out. timm pads an image if s does not divide its sides.
        If only one side is too short for a shift, timm leaves out the shift on that axis only;
        here, as in the released code, neither axis is shifted then.
    """

    halo_size = 0
    maps: ClassVar[tuple[Map, ...]] = (Windows(),)
    split: ClassVar[dict[str, Split]] = {"qkv": "heads", "project": "head inputs"}

    def __init__(
        self,
        window_size: int = 7,
        *,
        shift_size: int = 0,
        num_heads: int = 8,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.window_size: int = checks.integer(self, "window_size", window_size)
        self.shift_size: int = checks.integer(self, "shift_size", shift_size, 0)
        if shift_size >= window_size:
            raise checks.error(
                self,
                f"`shift_size` must be less than window_size={window_size}.",
                f"shift_size={shift_size}",
            )
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)
        self.block_size: int = self.window_size  # side and shift of the windows, as built
        self.shift: int = self.shift_size

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps and the table of relative positions."""
        height, width, channels = self.check_image(input_shape)
        checks.divisible(self, "the number of channels", channels, "num_heads", self.num_heads)
        shortest = min(length for length in (height, width, self.window_size + 1) if length)
        if shortest <= self.window_size:
            self.block_size, self.shift = shortest, 0
        self._check_size(height, width)
        self.qkv: keras.layers.Dense = dense(
            self, channels, 3 * channels, "qkv", use_bias=self.qkv_bias
        )
        self.project: keras.layers.Dense = dense(self, channels, channels, "project")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")
        self._offsets = offset_index(self.block_size, self.block_size)
        self.table: keras.Variable = self.add_weight(
            shape=((2 * self.block_size - 1) ** 2, self.num_heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            autocast=False,  # each bias serves many pairs: their gradients add up in float32
            name="table",
        )

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Let the pixels of each window of `x` attend to each other."""
        x = self.to_channels_last(x)
        self._check_size(*x.shape[1:3])
        height, width = ops.shape(x)[1:3]
        qkv = to_windows(self._roll(self.qkv(x), -self.shift), self.block_size)
        parts = ops.split(qkv, 3, axis=-1)  # (B, pixels, windows, C) each
        query, key, value = (split_window_heads(part, self.num_heads) for part in parts)
        output, attention = attend(  # (B, pixels, windows * heads, d)
            query,
            key,
            value,
            bias=self._biases(height, width),
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        output = self.project(merge_window_heads(output, self.num_heads))
        output = self._roll(from_windows(output, self.block_size, height, width), self.shift)
        if return_attention_scores:
            attention = window_scores(attention, self.num_heads)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def _roll(self, x: Tensor, shift: int) -> Tensor:
        return ops.roll(x, (shift, shift), axis=(1, 2)) if shift else x

    def _biases(self, height: int | Tensor, width: int | Tensor) -> Tensor:
        """Return what is added to the scores, `(1, windows * heads, pixels, pixels)`."""
        pixels = self.block_size**2
        bias = ops.transpose(take(self.table, self._offsets, axis=0), (2, 0, 1))
        bias = ops.expand_dims(bias, 0)  # (1, heads, pixels, pixels)
        if self.shift:
            bias = bias + ops.cast(self._mask(height, width), bias.dtype)
        else:
            windows = (height // self.block_size) * (width // self.block_size)
            bias = ops.broadcast_to(bias, (windows, self.num_heads, pixels, pixels))
        return ops.reshape(bias, (1, -1, pixels, pixels))

    def _mask(self, height: int | Tensor, width: int | Tensor) -> Tensor:
        """Return -100 between pixels from opposite sides, `(windows, 1, pixels, pixels)`."""
        rows, columns = (ops.arange(0, length) for length in (height, width))
        below = ops.cast(rows >= height - self.shift, "int32")  # from above the first row
        right = ops.cast(columns >= width - self.shift, "int32")
        side = 2 * ops.expand_dims(below, 1) + right  # (H, W)
        side = to_windows(ops.expand_dims(side, (0, 3)), self.block_size)
        side = ops.transpose(side, (2, 0, 3, 1))  # (windows, 1, 1, pixels)
        same = ops.equal(ops.transpose(side, (0, 1, 3, 2)), side)
        return ops.where(same, 0.0, -100.0)

    def _check_size(self, height: int | None, width: int | None) -> None:
        for what, length in (("the height", height), ("the width", width)):
            if length is not None:
                checks.divisible(self, what, length, "the side of the windows", self.block_size)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the map."""
        batch, *size, _ = self.channels_last_shape(input_shape)
        rows, columns = (None if side is None else side // self.block_size for side in size)
        pixels = self.block_size**2
        return batch, self.num_heads, positions(rows, columns), pixels, pixels

    def resize_from(self, other: "WindowAttention") -> None:
        """Copy the biases of a layer with windows of another size, interpolated."""
        table = ops.convert_to_numpy(other.table)
        sizes = ((layer.block_size, layer.block_size) for layer in (other, self))
        self.table.assign(resize_offsets(table, *sizes))

    def torch_names(self) -> TorchNames:
        """Name the parameters as microsoft/Swin-Transformer and timm do."""
        return {
            "relative_position_bias_table": self.table,
            "qkv": self.qkv,
            "proj": self.project,
        }
