"""Shuffle attention."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.groups import for_each_group, shuffle
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
        precise, over = upcast(x), {"axis": spatial(x), "keepdims": True}
        average = ops.mean(precise, **over)  # (B, 1, ..., C)
        centred = precise - average
        deviation = ops.sqrt(ops.mean(ops.square(centred), **over) + 1e-5)
        of_value, of_average, bias = self._weights()
        gate = ops.sigmoid(of_value / deviation * centred + (of_average * average + bias))
        return self.from_channels_last(shuffle(x * ops.cast(gate, x.dtype)))

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the factors of the normalised value and of the mean, and the bias, by channel.

        The first half of each group has no factor of the value, the second none of the mean.
        """
        scale, none = upcast(self.spatial_scale), ops.zeros(self.gamma.shape, self.gamma.dtype)
        halves = (
            (none, scale * self.gamma),
            (self.channel_scale, none),
            (self.channel_bias, scale * self.beta + self.spatial_bias),
        )
        rows = ops.stack([ops.concatenate([upcast(one) for one in half]) for half in halves])
        of_value, of_average, bias = ops.unstack(for_each_group(rows, self.groups))
        return of_value, of_average, bias

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
