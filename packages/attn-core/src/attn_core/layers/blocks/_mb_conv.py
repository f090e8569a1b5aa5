"""MBConv, the convolution block of CoAtNet."""

from dataclasses import dataclass
from typing import Unpack

import keras

from attn_core import _checks as checks
from attn_core._ops import activations
from attn_core._ops.pooling import halve
from attn_core._ops.precision import mean
from attn_core._ops.streams import stream
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization
from attn_core.layers._widths import multiple_of_8


@dataclass(frozen=True)
class MBConvForm:
    """What other published blocks do otherwise; the defaults are those of `MBConv`.

    Attributes:
        activation: Name of the activation after the norms.
        pre_activation: Whether it also follows the first norm.
        inner_width: Whose number of channels the widths inside are multiples of: "output" or
            "input". With "input", the width of squeeze-and-excitation is a multiple of the expanded
            one.
        use_bias: Whether the last 1x1 convolution and that of the shortcut have biases.
        se_activation: Name of the activation in squeeze-and-excitation.
        se_early: Whether squeeze-and-excitation comes before the norm of the depthwise convolution.
        downsample: What halves height and width: the "depthwise" convolution, or an average
            "pooling" after the first norm.
        pooling: Pooling of the shortcut: "avg" of 2x2 pixels, or "max" of 3x3.
    """

    activation: str = "gelu"
    pre_activation: bool = False
    inner_width: str = "output"
    use_bias: bool = True
    se_activation: str = "silu"
    se_early: bool = False
    downsample: str = "depthwise"
    pooling: str = "avg"


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
    form: MBConvForm = MBConvForm()  # another one in the blocks of some networks

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
        form, by_input = self.form, self.form.inner_width == "input"
        hidden = multiple_of_8((channels if by_input else self.filters) * self.expansion)
        squeezed = max(1, int(self.se_ratio * (hidden if by_input else self.filters)))

        self.norm: keras.layers.Layer = self._norm(channels, "norm")
        self.expand: keras.layers.Dense = dense(self, channels, hidden, "expand", use_bias=False)
        self.expand_norm: keras.layers.Layer = self._norm(hidden, "expand_norm")
        self.depthwise: keras.layers.Conv2D = child(
            self,
            Conv2D,
            hidden,
            self.kernel_size,
            shape=(None, None, None, hidden),
            strides=self.strides if form.downsample == "depthwise" else 1,
            groups=hidden,
            use_bias=False,
            name="depthwise",
        )
        self.depthwise_norm: keras.layers.Layer = self._norm(hidden, "depthwise_norm")
        self.squeeze: keras.layers.Dense = dense(
            self, hidden, squeezed, "squeeze", activation=form.se_activation
        )
        self.excite: keras.layers.Dense = dense(
            self, squeezed, hidden, "excite", activation="sigmoid"
        )
        bias = {"use_bias": form.use_bias}
        self.project: keras.layers.Dense = dense(self, hidden, self.filters, "project", **bias)
        self.shortcut: keras.layers.Dense | None = None
        if self.filters != channels:
            self.shortcut = dense(self, channels, self.filters, "shortcut", **bias)

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
        form, activate = self.form, activations.get(self.form.activation)
        x = stream(self.to_channels_last(x))
        self._check_sides(*x.shape[1:3])
        shortcut = halve(x, form.pooling) if self.strides == 2 else x
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut)  # (B, H / strides, W / strides, filters)

        x = self.norm(x, training=training)
        x = activate(x) if form.pre_activation else x
        x = halve(x) if self.strides == 2 and form.downsample == "pooling" else x
        x = activate(self.expand_norm(self.expand(x), training=training))
        x = self.depthwise(x)  # (B, H / strides, W / strides, hidden)
        x = self._rescale(x) if form.se_early else x
        x = activate(self.depthwise_norm(x, training=training))
        x = x if form.se_early else self._rescale(x)
        return self.from_channels_last(self.join(self.project(x), shortcut, training))

    def _rescale(self, x: Tensor) -> Tensor:
        """Multiply each channel by its gate of squeeze-and-excitation."""
        return x * self.excite(self.squeeze(mean(x, axis=(1, 2), keepdims=True)))

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
        se = "se_early" if self.form.se_early else "se"
        names: TorchNames = {
            "pre_norm": self.norm,
            "conv1_1x1": self.expand,
            "norm1": self.expand_norm,
            "conv2_kxk": self.depthwise,
            "norm2": self.depthwise_norm,
            f"{se}.fc1": self.squeeze,
            f"{se}.fc2": self.excite,
            "conv3_1x1": self.project,
        }
        if self.shortcut is not None:
            names = {"shortcut.expand": self.shortcut} | names
        return Schemes(timm=names)
