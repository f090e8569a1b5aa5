"""Squeeze-and-excitation."""

import keras

from attn_core.layers.base import ImageLayer
from attn_core.ops.precision import mean


@keras.saving.register_keras_serializable(package="attn_core")
class SEAttention(ImageLayer):
    r"""Squeeze-and-excitation: weighs the channels by what the whole image holds.

    Each channel is averaged over the image; two small dense layers turn the averages into one
    weight per channel, between 0 and 1:

    $$y = x \cdot \sigma(W_2\,\mathrm{relu}(W_1\,\mathrm{mean}_{hw}(x)))$$

    Args:
        reduction: Factor by which the hidden width is smaller than C; the width is
            `max(1, C // reduction)`.
        use_bias: Whether the two dense layers have biases.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate,
        `(B, 1, 1, C)` or `(B, C, 1, 1)`.

    Raises:
        ValueError: If `reduction` is not a positive integer, or the input is not an image of a
            known number of channels.

    Example:
        >>> import numpy as np
        >>> SEAttention(reduction=4)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507; numbers as
        moskomule/senet.pytorch `SELayer`.

    Differs from the paper:
        The dense layers have no biases by default, as in the reference; the authors' Caffe code
        has them (`use_bias=True`).
    """

    def __init__(self, reduction: int = 16, *, use_bias: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.reduction = self.integer("reduction", reduction)
        self.use_bias = self.flag("use_bias", use_bias)

    def build(self, input_shape):
        """Create the two dense layers."""
        _, _, channels = self.check_image(input_shape)
        width = max(1, channels // self.reduction)
        options = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.squeeze = keras.layers.Dense(width, activation="relu", name="squeeze", **options)
        self.excite = keras.layers.Dense(channels, activation="sigmoid", name="excite", **options)
        self.squeeze.build((None, channels))
        self.excite.build((None, width))

    def call(self, x, return_attention_scores=False):
        """Weigh the channels of `x`."""
        x = self.to_channels_last(x)
        gate = mean(x, axis=(1, 2), keepdims=True)  # (B, 1, 1, C)
        gate = self.excite(self.squeeze(gate))
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the gate."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return self.own_shape((batch, 1, 1, channels))

    def torch_names(self) -> dict:
        """Name the parameters as moskomule/senet.pytorch does."""
        return {"fc.0": self.squeeze, "fc.2": self.excite}
