"""Strip attention and efficient local attention."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import GroupNormalization


def _convolution(
    owner: ImageLayer, channels: int, size: tuple[int, int], use_bias: bool, name: str
) -> Conv2D:
    """Return a depthwise convolution along the rows or the columns."""
    shape = (None, None, None, channels)
    options = {"groups": channels, "use_bias": use_bias, "name": name}
    return child(owner, Conv2D, channels, size, shape=shape, **options)


@keras.saving.register_keras_serializable(package="attn_core")
class StripAttention(ImageLayer):
    r"""Strip attention: rescales each value by the means of its row and its column.

    The means of the rows and the means of the columns each pass through a depthwise convolution
    along their axis. The gate is the sigmoid of the sum of the two results:

    $$y_{hw} = x_{hw} \cdot \sigma\bigl((K_h * \mathrm{mean}_w(x))_h
    + (K_w * \mathrm{mean}_h(x))_w\bigr)$$

    The convolutions are padded with zeros, by half of `kernel_size`.

    Args:
        kernel_size: Odd size of the two convolutions.
        use_conv: Whether the layer has the two convolutions; without them it has no weights.
        use_bias: Whether the convolutions have a bias.
        skip: Whether x is added to the output.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate, of the same
        shape.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image of a known
            number of channels.

    Example:
        >>> import numpy as np
        >>> StripAttention(kernel_size=5)(np.ones((2, 7, 9, 32))).shape
        (2, 7, 9, 32)

    Reference:
        There is no paper. The outputs are the same as those of timm `StripAttn`. The strips are
        those of efficient local attention, arXiv:2403.01123, without its norms.

    Differs from the paper:
        There is no difference.
    """

    maps: ClassVar[tuple[Map, ...]] = (Gate(),)

    def __init__(
        self,
        kernel_size: int = 3,
        *,
        use_conv: bool = True,
        use_bias: bool = False,
        skip: bool = False,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)
        self.use_conv: bool = checks.flag(self, "use_conv", use_conv)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)
        self.skip: bool = checks.flag(self, "skip", skip)

    def build(self, input_shape: Shape) -> None:
        """Create the two convolutions."""
        _, _, channels = self.check_image(input_shape)
        if self.use_conv:
            size, bias = self.kernel_size, self.use_bias
            self.rows: Conv2D = _convolution(self, channels, (size, 1), bias, "rows")
            self.columns: Conv2D = _convolution(self, channels, (1, size), bias, "columns")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale the values of `x`."""
        x = self.to_channels_last(x)
        rows, columns = mean(x, axis=2, keepdims=True), mean(x, axis=1, keepdims=True)
        if self.use_conv:
            rows, columns = self.rows(rows), self.columns(columns)  # (B, H, 1, C), (B, 1, W, C)
        gate = ops.sigmoid(rows + columns)
        output = x * gate + x if self.skip else x * gate
        return self.result(
            self.from_channels_last(output), self.from_channels_last(gate), return_attention_scores
        )

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate, the input's."""
        return tuple(input_shape)

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does."""
        names = {"conv_h": self.rows, "conv_w": self.columns} if self.use_conv else {}
        return Schemes(timm=names)


@keras.saving.register_keras_serializable(package="attn_core")
class EfficientLocalAttention(ImageLayer):
    r"""Efficient local attention: rescales each row and each column by their normalized means.

    The means of the rows and the means of the columns each pass through a depthwise convolution
    along their axis, and through a norm over the channels and that axis together:

    $$y_{hw} = x_{hw} \cdot g(K_h * \mathrm{mean}_w(x))_h \cdot g(K_w * \mathrm{mean}_h(x))_w,
    \qquad g(z) = \sigma(\mathrm{silu}(\mathrm{GN}(z)))$$

    GN is the group normalization with one group, $\epsilon = 10^{-5}$, and a weight and a bias for
    each channel, one for the rows and one for the columns. The convolutions are padded with zeros,
    by half of `kernel_size`.

    Args:
        kernel_size: Odd size of the two convolutions.
        use_bias: Whether the convolutions have a bias.
        skip: Whether x is added to the output.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of the gates
        of the rows, `(B, H, 1, C)` or `(B, C, H, 1)`, and of the columns, `(B, 1, W, C)` or
        `(B, C, 1, W)`.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image of a known
            number of channels.

    Example:
        >>> import numpy as np
        >>> EfficientLocalAttention(skip=True)(np.ones((2, 7, 9, 32))).shape
        (2, 7, 9, 32)

    Reference:
        arXiv:2403.01123. The outputs are the same as those of timm `EfficientLocalAttn`, because
        the authors released no code.

    Differs from the paper:
        In the paper's listing, according to copies of it, rows and columns share one convolution
        and one norm of 16 groups, and there is no SiLU.
    """

    maps: ClassVar[tuple[Map, ...]] = (Gate(), Gate())

    def __init__(
        self,
        kernel_size: int = 7,
        *,
        use_bias: bool = False,
        skip: bool = False,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)
        self.skip: bool = checks.flag(self, "skip", skip)

    def build(self, input_shape: Shape) -> None:
        """Create the two convolutions and their norms."""
        _, _, channels = self.check_image(input_shape)
        size, bias = self.kernel_size, self.use_bias
        self.rows: Conv2D = _convolution(self, channels, (size, 1), bias, "rows")
        self.columns: Conv2D = _convolution(self, channels, (1, size), bias, "columns")
        options = {"shape": (None, None, None, channels)}
        self.rows_norm: GroupNormalization = child(
            self, GroupNormalization, name="rows_norm", **options
        )
        self.columns_norm: GroupNormalization = child(
            self, GroupNormalization, name="columns_norm", **options
        )

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale the rows and the columns of `x`."""
        x = self.to_channels_last(x)
        rows = self.rows_norm(self.rows(mean(x, axis=2, keepdims=True)))  # (B, H, 1, C)
        columns = self.columns_norm(self.columns(mean(x, axis=1, keepdims=True)))  # (B, 1, W, C)
        rows, columns = ops.sigmoid(ops.silu(rows)), ops.sigmoid(ops.silu(columns))
        output = x * rows * columns
        output = self.from_channels_last(output + x if self.skip else output)
        gates = self.from_channels_last(rows), self.from_channels_last(columns)
        return self.result(output, gates, return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the two gates."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        rows = self.from_channels_last_shape((batch, height, 1, channels))
        return rows, self.from_channels_last_shape((batch, 1, width, channels))

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does."""
        names: TorchNames = {
            "conv_h": self.rows,
            "conv_w": self.columns,
            "norm_h": self.rows_norm,
            "norm_w": self.columns_norm,
        }
        return Schemes(timm=names)
