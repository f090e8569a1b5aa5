"""Shuffle attention."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import upcast
from attn_core._ops.tokens import spatial
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer


@keras.saving.register_keras_serializable(package="attn_core")
class ShuffleAttention(ImageLayer):
    r"""Shuffle attention: rescales half of each channel group by means, half by normalised values.

    The channels form `groups` groups, and each group has two halves. The first half is rescaled by
    gates computed from the averages of its channels. The second half is rescaled by gates computed
    from its values, normalised over the image. Then the first half of all channels is interleaved
    with the second half, so that the groups exchange information:

    $$y_1 = x_1 \cdot \sigma(w_1\,\mathrm{mean}_{hw}(x_1) + b_1) \qquad
    y_2 = x_2 \cdot \sigma(w_2\,\mathrm{norm}_{hw}(x_2) + b_2) \qquad
    y = \mathrm{shuffle}([y_1, y_2])$$

    w is initialised to 0 and b to 1; the norm also has a scale and a shift for each channel.

    Args:
        groups: Number of groups; all share the same six vectors of C / (2 * groups) weights.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic, C must be a multiple of
            2 * groups. Signals, `(B, T, C)`, and volumes, `(B, D, H, W, C)`, are accepted too.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If `groups` is not a positive integer, or the input is not an image, signal or
            volume of a known number of channels that is a multiple of 2 * groups.

    Example:
        >>> import numpy as np
        >>> ShuffleAttention(groups=8)(np.ones((2, 7, 7, 64))).shape
        (2, 7, 7, 64)

    Reference:
        arXiv:2102.00240. The outputs are the same as those of wofmanaf/SA-Net `sa_layer`.

    Differs from the paper:
        Where the paper has a group norm, the released code and this layer normalise each channel
        over the image separately. The External-Attention collection in TensorFlow reshapes images
        with channels last as if the channels came first, and so mixes positions with channels.
    """

    spatial_axes = ANY_SPACE

    def __init__(self, groups: int = 64, **kwargs: Unpack[ImageArguments]) -> None:
        super().__init__(**kwargs)
        self.groups: int = checks.integer(self, "groups", groups)

    def build(self, input_shape: Shape) -> None:
        """Create the weights that all groups share."""
        channels = self.check_channels(input_shape)
        width = checks.divisible(
            self, "the number of channels", channels, "2 * groups", 2 * self.groups
        )
        shape = (width,)
        self.channel_scale: keras.Variable = self.add_weight(shape, "zeros", name="channel_scale")
        self.channel_bias: keras.Variable = self.add_weight(shape, "ones", name="channel_bias")
        self.spatial_scale: keras.Variable = self.add_weight(shape, "zeros", name="spatial_scale")
        self.spatial_bias: keras.Variable = self.add_weight(shape, "ones", name="spatial_bias")
        self.gamma: keras.Variable = self.add_weight(shape, "ones", name="gamma")
        self.beta: keras.Variable = self.add_weight(shape, "zeros", name="beta")

    def call(self, x: Tensor) -> Tensor:
        """Gate both halves of each group of `x`, then shuffle the channels."""
        x = self.to_channels_last(x)
        *outer, channels = *ops.shape(x)[:-1], x.shape[-1]
        groups = (*outer, self.groups, channels // self.groups)
        first, second = ops.split(ops.reshape(x, groups), 2, axis=-1)  # (B, ..., groups, C / 2g)

        average = ops.mean(upcast(first), axis=spatial(x), keepdims=True)
        first = first * self._gate(average, self.channel_scale, self.channel_bias)
        second = second * self._gate(self._norm(second), self.spatial_scale, self.spatial_bias)

        output = ops.concatenate([first, second], axis=-1)
        output = ops.reshape(output, (*outer, 2, channels // 2))
        output = ops.swapaxes(output, -1, -2)  # shuffle
        output = ops.reshape(output, (*outer, channels))
        return self.from_channels_last(output)

    def _norm(self, x: Tensor) -> Tensor:
        """Normalise each channel over the image, in at least float32."""
        x = upcast(x)
        over = {"axis": spatial(x)[:-1], "keepdims": True}  # not over the groups
        x = x - ops.mean(x, **over)
        variance = ops.mean(ops.square(x), **over)
        return x * (ops.rsqrt(variance + 1e-5) * upcast(self.gamma)) + upcast(self.beta)

    def _gate(self, x: Tensor, scale: keras.Variable, bias: keras.Variable) -> Tensor:
        return ops.cast(ops.sigmoid(x * upcast(scale) + upcast(bias)), self.compute_dtype)

    def torch_names(self) -> TorchNames:
        """Name the parameters as wofmanaf/SA-Net does."""
        return {
            "cweight": self.channel_scale,
            "cbias": self.channel_bias,
            "sweight": self.spatial_scale,
            "sbias": self.spatial_bias,
            "gn.weight": self.gamma,
            "gn.bias": self.beta,
        }
