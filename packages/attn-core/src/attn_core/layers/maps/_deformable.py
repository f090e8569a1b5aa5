"""Deformable attention (DAT)."""

from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.activations import gelu
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._ops.precision import upcast
from attn_core._ops.sampling import sample, sample_grids
from attn_core._ops.tokens import to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, Split, positions
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention, Map
from attn_core.layers._normalization import LayerNormalization


class _Reduction(Conv2D):
    """A depthwise convolution with a kernel of any size k, padded by k // 2, or as patches."""

    patches: bool = False
    """Whether there is no padding, and k is the strides."""

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolve; a last row and column of zeros make an odd kernel of an even one."""
        size = self.kernel_size[0]
        if self.patches:
            rows, columns = (length // size for length in inputs.shape[1:3])
            whole = inputs[:, : rows * size, : columns * size]
            whole = ops.reshape(whole, (-1, rows, size, columns, size, inputs.shape[-1]))
            kernel = ops.reshape(ops.cast(kernel, inputs.dtype), (size, 1, size, -1))
            return ops.sum(whole * kernel, axis=(2, 4))
        if size % 2 == 0:
            inputs = ops.pad(inputs, ((0, 0), (0, 1), (0, 1), (0, 0)))
            kernel = ops.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
        return super().convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable(package="attn_core")
class DeformableAttention(ImageLayer):
    r"""Deformable attention: all positions attend to a few points, moved by learned offsets.

    The layer starts from a coarse grid of points in the image. A small network moves each point by
    an offset computed from the queries around it. Keys and values are linear maps of the image at
    the points; between pixels, the image is interpolated bilinearly:

    $$p_j = \hat p_j + \mathrm{offset}_j(q), \quad
        y_i = \sum_j \mathrm{softmax}_j\Big(\frac{q_i \cdot W_k\,x(p_j)}{\sqrt d}
        + b(i - p_j)\Big)\, W_v\,x(p_j)$$

    for each head; then a linear map combines the heads. Each group of channels has its own points,
    which its heads share. Each head has a table with one number for each offset within the image,
    and b is interpolated from it. The table is initialised from a truncated normal distribution
    with a standard deviation of 0.01. The network of the offsets consists of a depthwise
    convolution, layer normalization, gelu, and a linear map to two numbers; the groups share it.

    Args:
        num_heads: Number of heads; divides C.
        groups: Number of groups of channels, each with its own points; divides `num_heads`.
        kernel_size: Size of the depthwise convolution; with `grid="centers"` 3, 5, 7 or 9.
        strides: Distance between the points, in pixels.
        offset_range_factor: Largest offset; 1 is half the distance between two points. `None` sets
            no limit, but keeps the points within the image.
        grid: "corners", as in the second release (DAT++), or "centers", as in the first.
        dropout: Rate of dropout on the attention map.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are fixed once the layer is built.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the map,
        `(B, num_heads, H * W, points)`, queries before points.

    Raises:
        ValueError: If an argument is out of its range, `groups` does not divide `num_heads`,
            `num_heads` does not divide C, the input is not an image of known height, width and
            number of channels, or it is too small for the points: with `grid="corners"` the image
            needs at least two pixels and two points along its rows and its columns.

    Example:
        >>> import numpy as np
        >>> DeformableAttention(num_heads=4, groups=2)(np.ones((2, 8, 6, 32))).shape
        (2, 8, 6, 32)

    Reference:
        arXiv:2201.00520 with `grid="centers"`, arXiv:2309.01430 with "corners". The outputs are the
        same as those of LeapLabTHU/DAT `DAttentionBaseline` with its relative position bias.

    Differs from the paper:
        As in the second release, the points of "corners" are not centred: the last points are
        beyond the border, and `offset_range_factor=None` moves them back to the border. With
        "centers", `None` applies the hyperbolic tangent to a moved point. With strides above 1, the
        first release reduced the table of biases to the size of the grid of points; here it has the
        size for the image.
    """

    one_column = False
    maps: ClassVar[tuple[Map, ...]] = (Attention(keys="point"),)
    split: ClassVar[dict[str, Split]] = {
        "query": "heads",
        "key": "heads",
        "value": "heads",
        "project": "head inputs",
        "near": "whole",
        "offset": "whole",
    }

    def __init__(
        self,
        num_heads: int = 8,
        *,
        groups: int = 4,
        kernel_size: int = 5,
        strides: int = 2,
        offset_range_factor: float | None = None,
        grid: str = "corners",
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.groups: int = checks.integer(self, "groups", groups)
        self.kernel_size: int = checks.integer(self, "kernel_size", kernel_size)
        self.strides: int = checks.integer(self, "strides", strides)
        self.offset_range_factor: float | None = checks.optional(
            checks.positive, self, "offset_range_factor", offset_range_factor
        )
        self.grid: str = checks.choice(self, "grid", grid, ("corners", "centers"))
        self.dropout: float = checks.rate(self, "dropout", dropout)
        checks.divisible(self, "num_heads", self.num_heads, "groups", self.groups)
        if self.grid == "centers":
            checks.choice(self, "kernel_size", self.kernel_size, (3, 5, 7, 9))

    def build(self, input_shape: Shape) -> None:
        """Create the four linear maps, the network of the offsets and the table of biases."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        checks.divisible(self, "the number of channels", channels, "num_heads", self.num_heads)
        self._size, self._points = (height, width), self._reduced(height, width)
        if min(*self._size, *self._points) < (2 if self.grid == "corners" else 1):
            raise checks.error(
                self,
                f"the image is too small for kernel_size={self.kernel_size}, "
                f"strides={self.strides} and grid={self.grid!r}.",
                f"{height} x {width} pixels, which give {self._points} points",
            )
        width_of_group = channels // self.groups
        shape = (None, None, None, width_of_group)
        self.query: keras.layers.Dense = dense(self, channels, channels, "query")
        self.near: _Reduction = child(
            self,
            _Reduction,
            width_of_group,
            self.kernel_size,
            strides=self.strides,
            groups=width_of_group,
            shape=shape,
            name="near",
        )
        self.near.patches = self._cuts_patches
        self.norm: LayerNormalization = child(
            self, LayerNormalization, epsilon=1e-5, shape=shape, name="norm"
        )
        self.offset: keras.layers.Dense = dense(self, width_of_group, 2, "offset", use_bias=False)
        self.key: keras.layers.Dense = dense(self, channels, channels, "key")
        self.value: keras.layers.Dense = dense(self, channels, channels, "value")
        self.project: keras.layers.Dense = dense(self, channels, channels, "project")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")
        self.table: keras.Variable = self.add_weight(
            shape=(self.num_heads, 2 * height - 1, 2 * width - 1),
            initializer=keras.initializers.TruncatedNormal(stddev=0.01),
            autocast=False,  # each bias serves many pairs: their gradients add up in float32
            name="table",
        )

    @property
    def _cuts_patches(self) -> bool:
        """Whether the convolution of the offsets has no padding."""
        return self.grid == "corners" and self.kernel_size == self.strides

    def _reduced(self, *size: int) -> tuple[int, ...]:
        """Return the number of rows and columns of points."""
        margin = -self.kernel_size if self._cuts_patches else -(self.kernel_size % 2)
        return tuple((length + margin) // self.strides + 1 for length in size)

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Let every position of `x` attend to the points."""
        x = self.to_channels_last(x)
        query = self.query(x)
        points = self._moved(self._split_groups(query))
        at = [(point + 1) / 2 * (n - 1) for point, n in zip(points, self._size, strict=True)]
        sampled = sample(self._split_groups(x), *at)  # (B * groups, points, C / groups)
        sampled = ops.reshape(sampled, (-1, self.groups, *sampled.shape[1:]))
        sampled = merge_heads(ops.transpose(sampled, (0, 2, 1, 3)))  # (B, points, C)
        output, attention = attend(
            split_heads(to_tokens(query), self.num_heads),
            split_heads(self.key(sampled), self.num_heads),
            split_heads(self.value(sampled), self.num_heads),
            bias=self._bias(*points),
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        output = to_image(self.project(merge_heads(output)), *self._size)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def _split_groups(self, image: Tensor) -> Tensor:
        """Move the groups of channels to the batch: `(B * groups, H, W, C / groups)`."""
        height, width = self._size
        image = ops.reshape(
            image, (-1, height * width, self.groups, image.shape[-1] // self.groups)
        )
        image = ops.transpose(image, (0, 2, 1, 3))
        return ops.reshape(image, (-1, height, width, image.shape[-1]))

    def _moved(self, query: Tensor) -> list[Tensor]:
        """Return the rows and the columns of the points, `(B * groups, points)`, border at 1."""
        hidden = gelu(self.norm(self.near(query)))
        offsets = upcast(self.offset(hidden))  # (B * groups, rows, columns, 2)
        moved = []
        for axis, length in enumerate(self._points):
            unit = length - 1 if self.grid == "corners" else length
            still = (np.arange(length) + 0.5) / unit * 2 - 1
            still = ops.cast(still.reshape((-1, 1) if axis == 0 else (1, -1)), offsets.dtype)
            offset = offsets[..., axis]
            if self.offset_range_factor is not None:
                point = still + ops.tanh(offset) * (self.offset_range_factor / unit)
            elif self.grid == "corners":
                point = ops.clip(still + offset, -1.0, 1.0)
            else:
                point = ops.tanh(still + offset)
            moved.append(ops.reshape(point, (-1, self._points[0] * self._points[1])))
        return moved

    def _bias(self, *points: Tensor) -> Tensor:
        """Return the biases of all positions and points, `(B, heads, H * W, points)`."""
        offsets = []
        for point, length in zip(points, self._size, strict=True):
            index = np.arange(length)
            query = index / (length - 1) if self.grid == "corners" else (index + 0.5) / length
            distance = ops.cast(query * 2 - 1, point.dtype) - ops.expand_dims(point, -1)
            at = (distance / 2 + 1) * (length - 1)  # pixels of the table
            at = ops.reshape(at, (-1, self.groups, point.shape[-1], length))
            offsets.append(ops.transpose(at, (1, 0, 2, 3)))
        rows, columns = self.table.shape[1:]
        table = ops.reshape(self.table, (self.groups, -1, rows, columns))
        bias = sample_grids(ops.transpose(table, (0, 2, 1, 3)), *offsets)
        bias = ops.transpose(bias, (1, 0, 4, 3, 5, 2))  # (B, groups, heads of it, H, W, points)
        return ops.reshape(bias, (-1, self.num_heads, positions(*self._size), bias.shape[-1]))

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention map."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        points = positions(*self._reduced(height, width)) if height and width else None
        return batch, self.num_heads, positions(height, width), points

    def torch_names(self) -> TorchNames:
        """Name the parameters as LeapLabTHU/DAT does."""
        return {
            "rpe_table": self.table,
            "conv_offset.0": self.near,
            "conv_offset.1.norm": self.norm,
            "conv_offset.3": self.offset,
            "proj_q": self.query,
            "proj_k": self.key,
            "proj_v": self.value,
            "proj_out": self.project,
        }
