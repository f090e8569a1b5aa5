"""MBConv, the convolution block of CoAtNet."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean
from attn_core._ops.streams import stream
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization
from attn_core.layers._widths import multiple_of_8


@keras.saving.register_keras_serializable(package="attn_core")
class MBConv(ImageLayer):
    r"""Mobile inverted bottleneck: expands, convolves, rescales and projects the channels.

    Squeeze-and-excitation rescales the channels of the expanded image. A shortcut is added to the
    result. It is the input, with a 2x2 average pooling if the strides are 2, and with a 1x1
    convolution if the numbers of channels differ:

    $$z = \mathrm{gelu}(\mathrm{BN}(\mathrm{DW}_k(\mathrm{gelu}(\mathrm{BN}(W_1\,
    \mathrm{BN}(x))))))$$

    $$y = W_2(z \cdot \sigma(V_2\,\mathrm{silu}(V_1\,\mathrm{mean}_{hw}(z)))) +
    \mathrm{shortcut}(x)$$

    Args:
        filters: Number of output channels; with strides 1 it must be C.
        expansion: The expanded image has `expansion * filters` channels, rounded to a multiple of
            8.
        se_ratio: The hidden width of squeeze-and-excitation is
            `max(1, int(se_ratio * filters))`.
        strides: 1, or 2 to halve height and width, which must be even.
        kernel_size: Odd size of the depthwise convolution.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the batch's statistics.

    Returns:
        Image, `(B, H / strides, W / strides, filters)` or `(B, filters, H / strides, W / strides)`.

    Raises:
        ValueError: If an argument is out of its range, the input is not an image of a known number
            of channels, `filters` is not that number at strides 1, or H or W is odd at strides 2.

    Example:
        >>> import numpy as np
        >>> MBConv(24, strides=2)(np.ones((2, 8, 6, 16))).shape
        (2, 4, 3, 24)

    Reference:
        arXiv:2106.04803. The outputs are the same as those of timm's maxxvit `MbConvBlock` in
        coatnet_*_224, because the authors released no code.

    Differs from the paper:
        As in timm, the depthwise convolution is strided, not the first 1x1 convolution; the pooling
        of the shortcut computes averages, not maxima; the activation inside squeeze-and-excitation
        is silu. The External-Attention collection in PyTorch has its norm after the block instead
        of before it, and silu instead of gelu; the class of the one in TensorFlow is empty.
    """

    split = {"excite": "inputs", "project": "inputs", "shortcut": "whole"}
    follows = {"depthwise": "expand"}

    def __init__(
        self,
        filters: int,
        *,
        expansion: float = 4,
        se_ratio: float = 0.25,
        strides: int = 1,
        kernel_size: int = 3,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters: int = checks.integer(self, "filters", filters)
        self.expansion: float = checks.positive(self, "expansion", expansion)
        self.se_ratio: float = checks.positive(self, "se_ratio", se_ratio)
        self.strides: int = checks.choice(self, "strides", strides, (1, 2))
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions, their norms and squeeze-and-excitation."""
        height, width, channels = self.check_image(input_shape)
        self._check_sides(height, width)
        if self.strides == 1 and self.filters != channels:
            raise checks.error(
                self,
                f"the shortcut needs `filters` = {channels}, the number of channels, at strides=1.",
                f"filters={self.filters}",
            )
        hidden = multiple_of_8(self.filters * self.expansion)
        squeezed = max(1, int(self.se_ratio * self.filters))

        self.norm: keras.layers.Layer = self._norm(channels, "norm")
        self.expand: keras.layers.Dense = dense(self, channels, hidden, "expand", use_bias=False)
        self.expand_norm: keras.layers.Layer = self._norm(hidden, "expand_norm")
        self.depthwise: keras.layers.Conv2D = child(
            self,
            Conv2D,
            hidden,
            self.kernel_size,
            shape=(None, None, None, hidden),
            strides=self.strides,
            groups=hidden,
            use_bias=False,
            name="depthwise",
        )
        self.depthwise_norm: keras.layers.Layer = self._norm(hidden, "depthwise_norm")
        self.squeeze: keras.layers.Dense = dense(
            self, hidden, squeezed, "squeeze", activation="silu"
        )
        self.excite: keras.layers.Dense = dense(
            self, squeezed, hidden, "excite", activation="sigmoid"
        )
        self.project: keras.layers.Dense = dense(self, hidden, self.filters, "project")
        self.shortcut: keras.layers.Dense | None = None
        if self.filters != channels:
            self.shortcut = dense(self, channels, self.filters, "shortcut")

    def _norm(self, channels: int, name: str) -> BatchNormalization:
        return child(self, BatchNormalization, shape=(None, None, None, channels), name=name)

    def _check_sides(self, height: int | None, width: int | None) -> None:
        if self.strides == 2 and ((height or 0) % 2 or (width or 0) % 2):
            raise checks.error(
                self,
                "height and width must be even at strides=2.",
                f"height={height}, width={width}",
            )

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Convolve `x`."""
        x = stream(self.to_channels_last(x))
        self._check_sides(*x.shape[1:3])
        shortcut = x
        if self.strides == 2:
            shortcut = ops.average_pool(x, 2, 2, "valid", "channels_last")
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut)  # (B, H / strides, W / strides, filters)

        x = self.expand(self.norm(x, training=training))
        x = ops.gelu(self.expand_norm(x, training=training), approximate=False)
        x = self.depthwise_norm(self.depthwise(x), training=training)
        x = ops.gelu(x, approximate=False)  # (B, H / strides, W / strides, hidden)
        x = x * self.excite(self.squeeze(mean(x, axis=(1, 2), keepdims=True)))
        return self.from_channels_last(self.join(self.project(x), shortcut, training))

    def join(self, branch: Tensor, shortcut: Tensor, training: bool | None) -> Tensor:
        """Add the branch to the shortcut; networks leave the branch out for some samples."""
        return branch + shortcut

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the convolved image."""
        batch, *sides, _ = self.channels_last_shape(input_shape)
        sides = (None if side is None else side // self.strides for side in sides)
        return self.from_channels_last_shape((batch, *sides, self.filters))

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does."""
        names: TorchNames = {
            "pre_norm": self.norm,
            "conv1_1x1": self.expand,
            "norm1": self.expand_norm,
            "conv2_kxk": self.depthwise,
            "norm2": self.depthwise_norm,
            "se.fc1": self.squeeze,
            "se.fc2": self.excite,
            "conv3_1x1": self.project,
        }
        if self.shortcut is not None:
            names = {"shortcut.expand": self.shortcut} | names
        return Schemes(timm=names)
