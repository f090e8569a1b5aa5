"""Neighbourhood attention (NATTEN)."""

from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend
from attn_core._ops.entries import split_at, take
from attn_core._ops.lowering import shares_keys
from attn_core._ops.windows import Indices, SharedKeys, gather_windows, join_blocks, nearest
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, Split, positions
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Map, Nearest


@keras.saving.register_keras_serializable(package="attn_core")
class NeighborhoodAttention(ImageLayer):
    r"""Neighbourhood attention: each position attends to the k x k positions nearest to it.

    The window of a position is centred on it. At the border it is moved inside the image, so that
    every position has k * k keys. With a dilation d, the window contains every d-th position,
    counted from the position itself. For each head, with one bias t for each offset,

    $$y_p = \sum_{n \in \mathrm{window}(p)} \mathrm{softmax}_n\Big(\frac{q_p \cdot k_n}{\sqrt d}
        + t_{(n-p) / \mathrm{dilation}}\Big)\, v_n$$

    and then a linear map combines the heads. q, k and v are linear maps of the positions. t is
    initialised from a truncated normal distribution with a standard deviation of 0.02.

    Args:
        kernel_size: Odd side k of the windows, at least 3.
        dilation: Distance between the positions of a window.
        num_heads: Number of heads; divides C.
        qkv_bias: Whether queries, keys and values have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. A side shorter than
            k * dilation is padded at its end to that length with zeros, which take part as other
            positions do: their keys and values are the biases.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the map,
        `(B, num_heads, H * W, k * k)`; the keys of a window are in the order of rows and columns.

    Raises:
        ValueError: If an argument is out of range, `num_heads` does not divide C, or the input is
            not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> layer = NeighborhoodAttention(3, num_heads=4, data_format="channels_last")
        >>> layer(np.ones((2, 8, 12, 32))).shape
        (2, 8, 12, 32)

    Reference:
        arXiv:2204.07143, dilated: arXiv:2209.15001. The outputs and the names of the parameters are
        the same as those of SHI-Labs/NATTEN 0.14.6 `NeighborhoodAttention2D` with its biases.

    Differs from the paper:
        There is no difference. From version 0.20 on, NATTEN has no relative position biases.
    """

    maps: ClassVar[tuple[Map, ...]] = (Nearest(),)
    split: ClassVar[dict[str, Split]] = {"qkv": "heads", "project": "head inputs"}

    def __init__(
        self,
        kernel_size: int = 7,
        *,
        dilation: int = 1,
        num_heads: int = 8,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size, 3)
        self.dilation: int = checks.integer(self, "dilation", dilation)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps and the biases of the offsets."""
        _, _, channels = self.check_image(input_shape)
        checks.divisible(self, "the number of channels", channels, "num_heads", self.num_heads)
        self.qkv: keras.layers.Dense = dense(
            self, channels, 3 * channels, "qkv", use_bias=self.qkv_bias
        )
        self.project: keras.layers.Dense = dense(self, channels, channels, "project")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")
        offsets = 2 * self.kernel_size - 1
        self.table: keras.Variable = self.add_weight(
            shape=(self.num_heads, offsets, offsets),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            autocast=False,  # each bias serves many pairs: their gradients add up in float32
            name="table",
        )

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Let each position of `x` attend to its neighbours."""
        x = self.to_channels_last(x)
        size, channels = ops.shape(x)[1:3], x.shape[-1]
        x = _pad_to(x, self.kernel_size * self.dilation)
        # Queries of a block share the keys of all their windows. The map has those of each alone.
        side = 1 if return_attention_scores or not shares_keys() else self.kernel_size
        rows, columns = (
            nearest(length, self.kernel_size, self.dilation, side) for length in ops.shape(x)[1:3]
        )
        query, key, value = split_at(self.qkv(x), channels, 2 * channels)
        output, attention = attend(  # (B, queries, blocks * heads, d)
            self._cut(query, rows.queries, columns.queries),
            self._cut(key, rows.keys, columns.keys),
            self._cut(value, rows.keys, columns.keys),
            bias=self._biases(rows, columns),
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        output = join_blocks(output, rows, columns, channels)[:, : size[0], : size[1]]
        if return_attention_scores:
            heads, keys = self.num_heads, self.kernel_size**2
            attention = join_blocks(attention, rows, columns, heads * keys)
            attention = attention[:, : size[0], : size[1]]
            attention = ops.reshape(attention, (-1, size[0] * size[1], heads, keys))
            attention = ops.transpose(attention, (0, 2, 1, 3))
        output = self.from_channels_last(self.project(output))
        return self.result(output, attention, return_attention_scores)

    def _cut(self, x: Tensor, rows: Indices, columns: Indices) -> Tensor:
        """Return the pixels of each block, `(B, pixels, blocks * heads, d)`."""
        width, pixels = x.shape[-1] // self.num_heads, rows.shape[1] * columns.shape[1]
        blocks = ops.shape(rows)[0] * ops.shape(columns)[0]
        x = gather_windows(x, rows, columns)
        return ops.reshape(x, (-1, pixels, blocks * self.num_heads, width))

    def _biases(self, rows: SharedKeys, columns: SharedKeys) -> Tensor:
        """Return what is added to the scores, `(1, blocks * heads, queries, keys)`."""
        (down, high, tall), (across, broad, wide) = ops.shape(rows.steps), ops.shape(columns.steps)
        bias = self._taken(self.table, rows, axis=1)  # (heads, rows, queries, keys, 2k - 1)
        bias = ops.transpose(bias, (1, 0, 2, 3, 4))
        bias = ops.reshape(bias, (down, self.num_heads * high, tall, self.table.shape[-1]))
        bias = self._taken(bias, columns, axis=3)  # (.., keys, columns, queries, keys)
        bias = ops.transpose(bias, (0, 3, 1, 4, 2, 5))
        return ops.reshape(bias, (1, down * across * self.num_heads, high * broad, tall * wide))

    def _taken(self, table: Tensor, line: SharedKeys, axis: int) -> Tensor:
        """Replace the offsets of an axis by blocks, queries and keys; hide keys not of a query."""
        last = self.kernel_size - 1
        on: Any = np if isinstance(line.steps, np.ndarray) else ops
        found = take(table, on.clip(line.steps + last, 0, 2 * last), axis=axis)
        if line.inside is None:
            return found
        after = tuple(range(3, 3 + len(table.shape) - 1 - axis))
        return ops.where(ops.expand_dims(line.inside, after), found, ops.cast(-1e30, found.dtype))

    def nearest_positions(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows `(H, k)` and columns `(W, k)` of each position's keys, of padding too."""
        least = self.kernel_size * self.dilation
        rows, columns = (
            _in_order(nearest(max(length, least), self.kernel_size, self.dilation))[:length]
            for length in (height, width)
        )
        return rows, columns

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the map."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        return batch, self.num_heads, positions(height, width), self.kernel_size**2

    def torch_names(self) -> TorchNames:
        """Name the parameters as SHI-Labs/NATTEN does."""
        return {"rpb": self.table, "qkv": self.qkv, "proj": self.project}


def _pad_to(x: Tensor, least: int) -> Tensor:
    """Pad height and width of `(B, H, W, C)` with zeros at their ends, up to `least`."""
    # Not ops.maximum, which narrows lengths to int32: ONNX pads by numbers of one type.
    short = [least - length for length in ops.shape(x)[1:3]]
    missing = [(one + abs(one)) // 2 for one in short]
    if not any(map(ops.is_tensor, missing)) and missing == [0, 0]:
        return x
    return ops.pad(x, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))


def _in_order(line: SharedKeys) -> np.ndarray:
    """Return the keys of each position, for blocks of one position."""
    keys = np.asarray(line.keys)
    return keys if line.order is None else keys[line.order]
