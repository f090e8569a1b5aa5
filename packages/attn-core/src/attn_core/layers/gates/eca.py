"""ECA, efficient channel attention."""

import math

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.precision import mean


@keras.saving.register_keras_serializable(package="attn_core")
class ECAAttention(ImageLayer):
    r"""Efficient channel attention: weighs each channel by the averages of its neighbours.

    Each channel is averaged over the image; one small convolution along the channels, zero beyond
    the first and the last, turns the averages into one weight per channel:

    $$y = x \cdot \sigma(w * \mathrm{mean}_{hw}(x)), \qquad
    k = |w| = \Big|\frac{\log_2 C + b}{\gamma}\Big|_\mathrm{odd}$$

    Args:
        kernel_size: Odd number k of weights; `None` = by the formula, rounded down, and one more if
            that is even (also 0).
        gamma: Divisor in the formula, not 0.
        b: Summand in the formula.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate,
        `(B, 1, 1, C)` or `(B, C, 1, 1)`.

    Raises:
        ValueError: If `kernel_size` is not a positive odd integer, `gamma` or `b` not a finite
            number or `gamma` zero, or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> layer = ECAAttention()
        >>> tuple(layer(np.ones((2, 7, 7, 128))).shape), layer.count_params()
        ((2, 7, 7, 128), 5)

    Reference:
        Wang, Wu, Zhu, Li, Zuo, Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional
        Neural Networks", CVPR 2020, arXiv:1910.03151; numbers as BangguWu/ECANet `eca_layer`.

    Differs from the paper:
        The paper's text takes the nearest odd number, its listing rounds as here. The released
        `eca_layer` takes `kernel_size=3` unless told otherwise. The External-Attention collections
        do so too, and give the convolution a bias.
    """

    def __init__(self, kernel_size: int | None = None, *, gamma: float = 2, b: float = 1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = None if kernel_size is None else self.odd("kernel_size", kernel_size)
        self.gamma = self.number("gamma", gamma)
        self.b = self.number("b", b)
        if gamma == 0:
            raise self.error("`gamma` must not be 0.", f"gamma={gamma!r}")

    def build(self, input_shape):
        """Create the weights of the convolution."""
        _, _, channels = self.check_image(input_shape)
        size = self.kernel_size
        if size is None:
            size = int(abs((math.log2(channels) + self.b) / self.gamma))
            size += size % 2 == 0
        self.kernel = self.add_weight(shape=(size,), initializer="glorot_uniform", name="kernel")

    def call(self, x, return_attention_scores=False):
        """Weigh the channels of `x`."""
        x = self.to_channels_last(x)
        size, channels = self.kernel.shape[0], x.shape[-1]
        average = mean(x, axis=(1, 2), keepdims=True)  # (B, 1, 1, C)
        average = ops.pad(average, ((0, 0), (0, 0), (0, 0), (size // 2, size // 2)))
        # A few shifted products: a convolution of one channel costs more on every backend.
        gate = sum(self.kernel[i] * average[..., i : i + channels] for i in range(size))
        gate = ops.sigmoid(gate)
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the gate."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return self.own_shape((batch, 1, 1, channels))

    def torch_names(self) -> dict:
        """Name the parameter as BangguWu/ECANet does."""
        return {"conv.weight": self.kernel}
