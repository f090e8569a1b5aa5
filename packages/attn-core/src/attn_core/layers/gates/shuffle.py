"""Shuffle attention."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.precision import upcast


@keras.saving.register_keras_serializable(package="attn_core")
class ShuffleAttention(ImageLayer):
    r"""Shuffle attention: gates half of each channel group by its average, half by its pixels.

    The channels form `groups` groups, the groups two halves. The first half is weighed by its own
    averages, one weight per channel; the second by its own pixels, normalised over the image. Then
    the first and the second half of all channels are interleaved, so that the groups mix:

    $$y_1 = x_1 \cdot \sigma(w_1\,\mathrm{mean}_{hw}(x_1) + b_1) \qquad
    y_2 = x_2 \cdot \sigma(w_2\,\mathrm{norm}_{hw}(x_2) + b_2) \qquad
    y = \mathrm{shuffle}([y_1, y_2])$$

    w starts at zero and b at one; the norm has a scale and a shift for each channel, too.

    Args:
        groups: Number of groups; they share the six vectors of C / (2 groups) weights.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic, C is a multiple of
            2 * groups.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If `groups` is not a positive integer, or the input is not an image of a known
            number of channels that divides by 2 * groups.

    Example:
        >>> import numpy as np
        >>> ShuffleAttention(groups=8)(np.ones((2, 7, 7, 64))).shape
        (2, 7, 7, 64)

    Reference:
        Zhang, Yang, "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks", ICASSP
        2021, arXiv:2102.00240; numbers as wofmanaf/SA-Net `sa_layer`.

    Differs from the paper:
        The paper's group norm is, in the released code and here, a norm over the image of each
        channel by itself. The External-Attention collection in TensorFlow reshapes channels last
        as if they came first, and so mixes positions with channels.
    """

    def __init__(self, groups: int = 64, **kwargs):
        super().__init__(**kwargs)
        self.groups = self.integer("groups", groups)

    def build(self, input_shape):
        """Create the weights that all groups share."""
        _, _, channels = self.check_image(input_shape)
        width = self.divisible("the number of channels", channels, "2 * groups", 2 * self.groups)

        def weight(name, initializer):
            return self.add_weight(shape=(width,), initializer=initializer, name=name)

        self.channel_scale = weight("channel_scale", "zeros")
        self.channel_bias = weight("channel_bias", "ones")
        self.spatial_scale = weight("spatial_scale", "zeros")
        self.spatial_bias = weight("spatial_bias", "ones")
        self.gamma = weight("gamma", "ones")
        self.beta = weight("beta", "zeros")

    def call(self, x):
        """Gate both halves of each group of `x`, then shuffle the channels."""
        x = self.to_channels_last(x)
        batch, height, width = ops.shape(x)[:3]
        groups = (batch, height, width, self.groups, x.shape[-1] // self.groups)
        first, second = ops.split(ops.reshape(x, groups), 2, axis=-1)  # (B, H, W, groups, C / 2g)

        average = ops.mean(upcast(first), axis=(1, 2), keepdims=True)
        first = first * self._gate(average, self.channel_scale, self.channel_bias)
        second = second * self._gate(self._norm(second), self.spatial_scale, self.spatial_bias)

        output = ops.concatenate([first, second], axis=-1)
        output = ops.reshape(output, (batch, height, width, 2, x.shape[-1] // 2))
        output = ops.transpose(output, (0, 1, 2, 4, 3))  # shuffle
        output = ops.reshape(output, (batch, height, width, x.shape[-1]))
        return self.from_channels_last(output)

    def _norm(self, x):
        """Normalise every channel over the image; float32 at least."""
        x = upcast(x)
        x = x - ops.mean(x, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(x), axis=(1, 2), keepdims=True)
        return x * (ops.rsqrt(variance + 1e-5) * upcast(self.gamma)) + upcast(self.beta)

    def _gate(self, x, scale, bias):
        return ops.cast(ops.sigmoid(x * upcast(scale) + upcast(bias)), self.compute_dtype)

    def torch_names(self) -> dict:
        """Name the parameters as wofmanaf/SA-Net does."""
        return {
            "cweight": self.channel_scale,
            "cbias": self.channel_bias,
            "sweight": self.spatial_scale,
            "sbias": self.spatial_bias,
            "gn.weight": self.gamma,
            "gn.bias": self.beta,
        }
