"""The convolution of all layers: PyTorch's padding, each backend's fastest way."""

import keras

from attn_core.ops.convolution import conv2d


@keras.saving.register_keras_serializable(package="attn_core")
class Conv2D(keras.layers.Conv2D):
    """A `keras.layers.Conv2D`, channels last, padded as PyTorch pads: symmetrically, with zeros.

    Height and width stay at strides 1 and are divided by the strides, rounded up, above. Grouped
    and depthwise (`groups=C`) convolutions run in the way that is fastest on the backend at hand.

    Args:
        filters: Number of output channels.
        kernel_size: Odd kernel size, an integer or a pair.
        **kwargs: As for `keras.layers.Conv2D`: `strides`, `dilation_rate`, `groups`, `use_bias`.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        kwargs = {**kwargs, "padding": "same", "data_format": "channels_last"}
        super().__init__(filters, kernel_size, **kwargs)

    def convolution_op(self, inputs, kernel):
        """Convolve with symmetric padding."""
        return conv2d(inputs, kernel, tuple(self.strides), tuple(self.dilation_rate))
