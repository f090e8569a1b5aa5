"""MBConv, the convolution block of CoAtNet."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.ops.precision import mean


@keras.saving.register_keras_serializable(package="attn_core")
class MBConv(ImageLayer):
    r"""Mobile inverted bottleneck: widen, convolve each channel, weigh the channels, narrow.

    Squeeze-and-excitation weighs the channels of the wide image; a shortcut goes round it all,
    through 2x2 average pooling and, where the widths differ, a 1x1 convolution if strided:

    $$z = \mathrm{gelu}(\mathrm{BN}(\mathrm{DW}_k(\mathrm{gelu}(\mathrm{BN}(W_1\,
    \mathrm{BN}(x))))))$$

    $$y = W_2(z \cdot \sigma(V_2\,\mathrm{silu}(V_1\,\mathrm{mean}_{hw}(z)))) +
    \mathrm{shortcut}(x)$$

    Args:
        filters: Number of output channels; C at strides 1.
        expansion: Ratio of the wide image's channels to `filters`, rounded to a multiple of 8.
        se_ratio: Ratio of the hidden width of squeeze-and-excitation to `filters`; the width is
            `max(1, int(se_ratio * filters))`.
        strides: 1, or 2 to halve height and width, which must be even.
        kernel_size: Odd size of the depthwise convolution.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether batch statistics normalise.

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
        Dai, Liu, Le, Tan, "CoAtNet: Marrying Convolution and Attention for All Data Sizes", NeurIPS
        2021, arXiv:2106.04803; numbers as timm's maxxvit `MbConvBlock` in coatnet_*_224, the
        authors having released no code.

    Differs from the paper:
        The depthwise convolution is strided, and not the first 1x1 convolution; the shortcut pools
        by averages and not by maxima; squeeze-and-excitation is silu inside. All three are timm's.
        The PyTorch collection has no norm before the block; the TensorFlow one holds a stub.
    """

    def __init__(
        self,
        filters: int,
        *,
        expansion: float = 4,
        se_ratio: float = 0.25,
        strides: int = 1,
        kernel_size: int = 3,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = self.integer("filters", filters)
        self.expansion = self.positive("expansion", expansion)
        self.se_ratio = self.positive("se_ratio", se_ratio)
        self.strides = self.choice("strides", strides, (1, 2))
        self.kernel_size = self.odd("kernel_size", kernel_size)

    def build(self, input_shape):
        """Create the convolutions, their norms and squeeze-and-excitation."""
        height, width, channels = self.check_image(input_shape)
        self._check_sides(height, width)
        if self.strides == 1 and self.filters != channels:
            raise self.error(
                f"the shortcut needs `filters` = {channels}, the number of channels, at strides=1.",
                f"filters={self.filters}",
            )
        hidden = multiple_of_8(self.filters * self.expansion)
        squeezed = max(1, int(self.se_ratio * self.filters))

        def create(cls, name, inputs, *args, **options):
            layer = cls(*args, name=name, dtype=self.dtype_policy, **options)
            layer.build((None, None, None, inputs))
            return layer

        dense, norm = keras.layers.Dense, BatchNormalization
        self.norm = create(norm, "norm", channels)
        self.expand = create(dense, "expand", channels, hidden, use_bias=False)
        self.expand_norm = create(norm, "expand_norm", hidden)
        self.depthwise = create(
            Conv2D, "depthwise", hidden, hidden, self.kernel_size,
            strides=self.strides, groups=hidden, use_bias=False,
        )  # fmt: skip
        self.depthwise_norm = create(norm, "depthwise_norm", hidden)
        self.squeeze = create(dense, "squeeze", hidden, squeezed, activation="silu")
        self.excite = create(dense, "excite", squeezed, hidden, activation="sigmoid")
        self.project = create(dense, "project", hidden, self.filters)
        self.shortcut = None
        if self.filters != channels:
            self.shortcut = create(dense, "shortcut", channels, self.filters)

    def _check_sides(self, height, width):
        if self.strides == 2 and ((height or 0) % 2 or (width or 0) % 2):
            raise self.error(
                "height and width must be even at strides=2.", f"height={height}, width={width}"
            )

    def call(self, x, training=None):
        """Convolve `x`."""
        x = self.to_channels_last(x)
        self._check_sides(*x.shape[1:3])
        around = x
        if self.strides == 2:
            around = ops.average_pool(x, 2, 2, "valid", "channels_last")
        if self.shortcut is not None:
            around = self.shortcut(around)  # (B, H / strides, W / strides, filters)

        x = self.expand(self.norm(x, training=training))
        x = ops.gelu(self.expand_norm(x, training=training), approximate=False)
        x = self.depthwise_norm(self.depthwise(x), training=training)
        x = ops.gelu(x, approximate=False)  # (B, H / strides, W / strides, hidden)
        x = x * self.excite(self.squeeze(mean(x, axis=(1, 2), keepdims=True)))
        return self.from_channels_last(self.join(self.project(x), around, training))

    def join(self, branch, shortcut, training):
        """Add the branch to the shortcut; networks drop it for some samples."""
        return branch + shortcut

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape of the convolved image."""
        batch, *sides, _ = self.channels_last_shape(input_shape)
        sides = (None if side is None else side // self.strides for side in sides)
        return self.own_shape((batch, *sides, self.filters))

    def torch_names(self) -> dict:
        """Name the parameters as timm does."""
        names = {
            "pre_norm": self.norm,
            "conv1_1x1": self.expand,
            "norm1": self.expand_norm,
            "conv2_kxk": self.depthwise,
            "norm2": self.depthwise_norm,
            "se.fc1": self.squeeze,
            "se.fc2": self.excite,
            "conv3_1x1": self.project,
        }
        return names if self.shortcut is None else {"shortcut.expand": self.shortcut} | names


def multiple_of_8(width: float) -> int:
    """Round a width to a multiple of 8, at least 8, that is not below nine tenths of it."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
