"""Halo attention."""

from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend
from attn_core._ops.entries import split_at
from attn_core._ops.precision import upcast
from attn_core._ops.relative import relative_scores
from attn_core._ops.windows import (
    from_windows,
    merge_window_heads,
    split_window_heads,
    to_windows,
    window_mask,
    window_scores,
)
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers._base import ImageLayer, positions
from attn_core.layers._children import dense
from attn_core.layers._maps import Windows


@keras.saving.register_keras_serializable(package="attn_core")
class HaloAttention(ImageLayer):
    r"""Halo attention: every block of the image attends to itself and to a halo around it.

    The image is cut into blocks of b x b pixels. All queries of a block use the same keys and
    values, those of a window of (b + 2h) x (b + 2h) pixels around the block. Relative positions are
    learned:

    $$y_{p} = \sum_{n \in \mathrm{window}(p)} \mathrm{softmax}_n\Big(\frac{q_p \cdot k_n}{\sqrt d}
        + q_p \cdot (r^{\mathrm{row}}_{n-p} + r^{\mathrm{column}}_{n-p})\Big)\, v_n$$

    q, k and v are linear maps of the pixels. One kernel, `key_value`, gives keys and values: its
    outputs are, head by head, the d channels of the key, then the channels of the value. Queries
    and keys of a head have d channels, its values `output_dim / num_heads`; the outputs of the
    heads are concatenated, without a further linear map. A window begins h pixels above its block
    and h pixels to the left of it; outside the image, k and v are zero.

    The two tables r, which the heads share, contain 2w - 1 vectors of d numbers, where w = b + 2h.
    For a pixel in row i of the window and a query in row j of the block, both counted from 0, the
    layer uses entry i - j + w - 1 of the table of rows (so the first 2h entries are not used); the
    same holds for columns. The tables are initialised from a truncated normal distribution with a
    standard deviation of $1 / \sqrt{d}$.

    Args:
        block_size: Side b of the blocks; divides H and W.
        halo_size: Width h of the halo, in pixels.
        num_heads: Number of heads; divides `output_dim`.
        key_dim: Width d of the queries and keys of a head; `None` = output_dim // num_heads.
        output_dim: Number of output channels; `None` = C.
        qkv_bias: Whether queries, keys and values have biases.
        scale_pos_embed: Whether the scores of the relative positions are also divided by
            $\sqrt{d}$.
        strides: With 2, only every second pixel of rows and columns is a query, and the output has
            half the height and width; it divides `block_size`.
        mask_padding: Whether to exclude the part of the halo that is outside the image. Otherwise
            its keys and values, which are zero, are part of the softmax.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the map too.

    Returns:
        Image, `(B, H / strides, W / strides, output_dim)` or
        `(B, output_dim, H / strides, W / strides)`; with `return_attention_scores=True` also the
        map, `(B, num_heads, blocks, (b / strides) ** 2, (b + 2h) * (b + 2h))` in both data formats.
        The blocks, the queries of a block and the pixels of its window are in the order of rows,
        then columns.

    Raises:
        ValueError: If an argument is out of range, `num_heads` does not divide the output channels,
            `block_size` does not divide H and W, `strides` does not divide `block_size`, or the
            input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> HaloAttention(block_size=4, halo_size=1)(np.ones((2, 8, 12, 32))).shape
        (2, 8, 12, 32)

    Reference:
        arXiv:2103.12731. The outputs are the same as those of huggingface/pytorch-image-models
        `HaloAttn`. Its weights have the same shapes at every stride, so a layer must be built with
        the stride of the checkpoint: with `stride=2`, `strides=2`; with `avg_down=True` or an odd
        `block_size` there, `strides=1` and `keras.layers.AveragePooling2D(2)` after it.

    Differs from the paper:
        The authors released no code. As in the reference, the relative positions are divided by
        $\sqrt{d}$ only with `scale_pos_embed`, and without `mask_padding` the zeros outside the
        image are part of the softmax. The reference rounds the default `key_dim` * `num_heads` to a
        multiple of 8; here it is `output_dim`. In xmu-xiaoma666's collection the mask is inverted:
        a block at the border attends only to the padding, and a block inside averages all values.
    """

    one_column = False
    maps = (Windows(),)
    split = {"query": "heads", "key_value": "heads"}

    def __init__(
        self,
        block_size: int = 8,
        *,
        halo_size: int = 3,
        num_heads: int = 8,
        key_dim: int | None = None,
        output_dim: int | None = None,
        qkv_bias: bool = False,
        scale_pos_embed: bool = False,
        mask_padding: bool = False,
        strides: int = 1,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.block_size: int = checks.integer(self, "block_size", block_size)
        self.halo_size: int = checks.integer(self, "halo_size", halo_size, 0)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.key_dim: int | None = checks.optional(checks.integer, self, "key_dim", key_dim)
        self.output_dim: int | None = checks.optional(
            checks.integer, self, "output_dim", output_dim
        )
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.scale_pos_embed: bool = checks.flag(self, "scale_pos_embed", scale_pos_embed)
        self.mask_padding: bool = checks.flag(self, "mask_padding", mask_padding)
        self.strides: int = checks.integer(self, "strides", strides)
        self._block = checks.divisible(self, "`block_size`", block_size, "strides", strides)

    def build(self, input_shape: Shape) -> None:
        """Create the dense layers and the relative positions."""
        height, width, channels = self.check_image(input_shape)
        self.check_multiples(height, width, "block_size")
        outputs = self.output_dim or channels
        value_width = checks.divisible(self, "output_dim", outputs, "num_heads", self.num_heads)
        self._key_width = self.key_dim or value_width
        keys, bias = self.num_heads * self._key_width, {"use_bias": self.qkv_bias}
        self.query: keras.layers.Dense = dense(self, channels, keys, "query", **bias)
        self.key_value: keras.layers.Dense = dense(
            self, channels, keys + outputs, "key_value", **bias
        )
        options = {
            "shape": (2 * self._window - 1, self._key_width),
            "initializer": keras.initializers.TruncatedNormal(stddev=self._key_width**-0.5),
        }
        self.rows: keras.Variable = self.add_weight(name="rows", **options)
        self.columns: keras.Variable = self.add_weight(name="columns", **options)

    @property
    def _window(self) -> int:
        """Side of a window: a block with its halo."""
        return self.block_size + 2 * self.halo_size

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Let the blocks of `x` attend to their windows."""
        x = self.to_channels_last(x)
        self.check_multiples(*x.shape[1:3], "block_size")
        height, width = ops.shape(x)[1:3]

        side, strides = self._block, self.strides  # with strides, every so-many-th pixel asks
        query = self.query(x[:, ::strides, ::strides] if strides > 1 else x)
        query = split_window_heads(to_windows(query, side), self.num_heads)
        windows = to_windows(self.key_value(x), self.block_size, self.halo_size)
        key, value = split_at(split_window_heads(windows, self.num_heads), self._key_width)
        mask = None
        if self.mask_padding:
            inside = ops.ones_like(x[:1, :, :, :1])
            mask = window_mask(inside, self.num_heads, self.block_size, self.halo_size)
        output, attention = attend(  # (B, queries, blocks * heads, width)
            query,
            key,
            value,
            bias=self._positions(query),
            mask=mask,
            return_attention_scores=return_attention_scores,
        )
        output = merge_window_heads(output, self.num_heads)
        output = from_windows(output, side, height // strides, width // strides)
        if return_attention_scores:
            attention = window_scores(attention, self.num_heads)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def _positions(self, query: Tensor) -> Tensor:
        """Return the scores of the relative positions, `(B, blocks * heads, queries, keys)`."""
        query = upcast(query) * (self._key_width**-0.5 if self.scale_pos_embed else 1.0)
        heads = ops.shape(query)[2]  # of all blocks
        query = ops.reshape(query, (-1, self._block, self._block, heads, self._key_width))
        return relative_scores(query, self.rows, self.columns)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after the strides, with `output_dim` channels."""
        batch, *sides, channels = self.channels_last_shape(input_shape)
        sides = (None if side is None else side // self.strides for side in sides)
        return self.from_channels_last_shape((batch, *sides, self.output_dim or channels))

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the map."""
        batch, *size, _ = self.channels_last_shape(input_shape)
        rows, columns = (None if side is None else side // self.block_size for side in size)
        blocks = positions(rows, columns)
        return batch, self.num_heads, blocks, self._block**2, self._window**2

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does."""
        names: TorchNames = {
            "q": self.query,
            "kv": self.key_value,  # of each head the rows of the keys, then those of the values
            "pos_embed.height_rel": self.rows,
            "pos_embed.width_rel": self.columns,
        }
        return Schemes(timm=names)
