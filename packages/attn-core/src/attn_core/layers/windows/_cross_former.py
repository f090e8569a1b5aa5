"""CrossFormer attention: short and long distance."""

from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend
from attn_core._ops.entries import take
from attn_core._ops.grids import offset_index
from attn_core._ops.patches import round_up
from attn_core._ops.windows import (
    from_windows,
    merge_window_heads,
    split_window_heads,
    to_windows,
    window_mask,
    window_scores,
)
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import stacked
from attn_core.layers._base import ImageLayer, Split, positions
from attn_core.layers._children import child, dense
from attn_core.layers._dense import Dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Map, Windows
from attn_core.layers._normalization import LayerNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class CrossFormerAttention(ImageLayer):
    r"""CrossFormer attention: positions attend to each other in groups, either near or distant.

    With short distance, a group consists of G x G neighbouring positions. With long distance, the
    image is cut into blocks of GI x GI positions, and the positions of a block that are I apart
    from each other form a group. Within a group,

    $$y_i = \sum_j \mathrm{softmax}_j(q_i^\top k_j / \sqrt{d} + b(i - j))\, v_j$$

    for each head; then a linear map combines the heads. A small network computes the bias b from
    the offset in rows and columns of the group. It consists of a linear map, followed three times
    by layer normalization, relu and another linear map. If the sides of the image are not multiples
    of G, or GI, it is padded with zeros at the bottom and on the right; no position attends to this
    padding.

    Args:
        group_size: Side G of the groups. If the height or the width of the image is not larger, the
            shorter side is used as G, with short distance.
        interval: Distance I between the positions of a group; `None` = short distance.
        num_heads: Number of heads; divides C.
        qkv_bias: Whether queries, keys and values have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`, C >= 16. H and W may be dynamic, and are fixed
            once the layer is built for a side that does not exceed `group_size`.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the map,
        `(B, num_heads, groups, G * G, G * G)`, queries before keys. Groups follow each other block
        by block, and within a block by the row, then the column of their first position. The map of
        a group within the padding is zero.

    Raises:
        ValueError: If an argument is out of its range, `num_heads` does not divide C, C is below
            16, or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> CrossFormerAttention(7, interval=2, num_heads=4)(np.ones((2, 14, 28, 32))).shape
        (2, 14, 28, 32)

    Reference:
        arXiv:2108.00154. The outputs are the same as those of cheerss/CrossFormer
        `CrossFormerBlock`, without its norms, MLP, shortcut and extra convolution.

    Differs from the paper:
        The network of the biases is C / 16 wide, as in the released code, which divides by 4 twice;
        the paper writes C / 4.
    """

    maps: ClassVar[tuple[Map, ...]] = (Windows(),)
    split: ClassVar[dict[str, Split]] = {
        "query": "heads",
        "key": "heads",
        "value": "heads",
        "project": "head inputs",
        "bias_in": "whole",
        "bias_1": "whole",
        "bias_2": "whole",
        "bias_3": "whole",
    }
    halo_size = 0

    def __init__(
        self,
        group_size: int = 7,
        *,
        interval: int | None = None,
        num_heads: int = 8,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.group_size: int = checks.integer(self, "group_size", group_size)
        self.interval: int | None = checks.optional(checks.integer, self, "interval", interval)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)
        self._short: int | None = None

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps and the network of the biases."""
        height, width, channels = self.check_image(input_shape)
        if self._is_short(height, width):
            self.check_image(input_shape, fixed_size=True)
            self._short = min(height, width)
        checks.divisible(self, "the number of channels", channels, "num_heads", self.num_heads)
        if channels < 16:
            message = "the number of channels must be at least 16."
            raise checks.error(self, message, f"{channels} channels")
        bias = {"use_bias": self.qkv_bias}
        self.query: keras.layers.Dense = dense(self, channels, channels, "query", **bias)
        self.key: keras.layers.Dense = dense(self, channels, channels, "key", **bias)
        self.value: keras.layers.Dense = dense(self, channels, channels, "value", **bias)
        self.project: keras.layers.Dense = dense(self, channels, channels, "project")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")
        inner = channels // 4 // 4
        # Not for int8: norms of a few numbers would magnify its rounding.
        self.bias_in: Dense = child(
            self, Dense, inner, shape=(None, 2), name="bias_in", quantizable=False
        )
        self.bias_norms: list[LayerNormalization] = [
            child(
                self,
                LayerNormalization,
                epsilon=1e-5,
                shape=(None, inner),
                name=f"bias_{number}_norm",
            )
            for number in (1, 2, 3)
        ]
        self.bias_maps: list[Dense] = [
            child(
                self, Dense, outputs, shape=(None, inner), name=f"bias_{number}", quantizable=False
            )
            for number, outputs in ((1, inner), (2, inner), (3, self.num_heads))
        ]
        side = self.block_size
        self._pairs = offset_index(side, side)

    @property
    def block_size(self) -> int:
        """Side of the groups, in positions."""
        return self._short or self.group_size

    @property
    def pixel_distance(self) -> int:
        """Distance of the positions of a group."""
        return 1 if self._short or self.interval is None else self.interval

    def _is_short(self, *size: int | None) -> bool:
        """Whether a side of the image does not exceed the groups."""
        return any(side is not None and side <= self.group_size for side in size)

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Let the groups of `x` attend within themselves."""
        x = self.to_channels_last(x)
        side, apart, heads = self.block_size, self.pixel_distance, self.num_heads
        height, width = ops.shape(x)[1:3]
        rows, columns = round_up((height, width), (side * apart,) * 2)
        margins = ((0, 0), (0, rows - height), (0, columns - width), (0, 0))
        is_whole = (
            isinstance(rows, int) and isinstance(columns, int) and margins[1:3] == ((0, 0),) * 2
        )
        mask = None
        if not is_whole:
            inside = ops.pad(ops.ones_like(x[:1, :, :, :1]), margins)
            mask = window_mask(inside, heads, side, interval=apart)
            x = ops.pad(x, margins)
        x = to_windows(x, side, interval=apart)  # (B, G * G, groups, C)
        output, attention = attend(  # (B, G * G, groups * heads, d)
            split_window_heads(self.query(x), heads),
            split_window_heads(self.key(x), heads),
            split_window_heads(self.value(x), heads),
            bias=self._bias(ops.shape(x)[2]),
            mask=mask,
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        output = self.project(merge_window_heads(output, heads))
        output = from_windows(output, side, rows, columns, interval=apart)[:, :height, :width]
        if return_attention_scores:
            attention = window_scores(attention, heads)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def _bias(self, groups: int | Tensor) -> Tensor:
        """Return the biases of a group for all of them, `(1, groups * heads, G * G, G * G)`."""
        side = self.block_size
        offsets = np.stack(np.indices((2 * side - 1, 2 * side - 1)), axis=-1) - (side - 1)
        bias = self.bias_in(ops.cast(offsets.reshape(-1, 2), self.compute_dtype))
        for norm, linear in zip(self.bias_norms, self.bias_maps, strict=True):
            bias = linear(ops.relu(norm(bias)))  # (offsets, heads) in the end
        bias = ops.transpose(take(bias, self._pairs, axis=0), (2, 0, 1))
        bias = ops.broadcast_to(ops.expand_dims(bias, 0), (groups, *bias.shape))
        return ops.reshape(bias, (1, -1, *bias.shape[2:]))

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the map."""
        batch, *size, _ = self.channels_last_shape(input_shape)
        side, apart = self.block_size, self.pixel_distance
        if not self.built and self._is_short(*size) and all(size):
            side, apart = min(size), 1
        rows, columns = (None if one is None else -(-one // (side * apart)) for one in size)
        groups = positions(rows, columns)
        return batch, self.num_heads, groups and groups * apart**2, side**2, side**2

    def torch_names(self) -> TorchNames:
        """Name the parameters as cheerss/CrossFormer does."""
        joint = (self.query, self.key, self.value)
        names: TorchNames = {
            "pos.pos_proj": self.bias_in,
            "qkv.weight": stacked(*(layer.kernel for layer in joint)),
            "proj": self.project,
        }
        if self.qkv_bias:
            names["qkv.bias"] = stacked(*(layer.bias for layer in joint))
        for number, (norm, linear) in enumerate(
            zip(self.bias_norms, self.bias_maps, strict=True), 1
        ):
            names |= {f"pos.pos{number}.0": norm, f"pos.pos{number}.2": linear}
        return names
