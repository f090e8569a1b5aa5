"""Attention free transformer for images: position biases within a square around each pixel."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.aft import bias_exponential, key_exponential, quotient, sum_beyond
from attn_core._ops.convolution import conv2d
from attn_core._ops.entries import split_at
from attn_core._ops.precision import upcast
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._attention_free import AttentionFreeLayer
from attn_core.layers._base import ImageLayer


@keras.saving.register_keras_serializable(package="attn_core")
class AFTConv(AttentionFreeLayer, ImageLayer):
    r"""AFT-conv: averages the values of an image, weighted per head by keys and relative biases.

    The position biases depend only on the offset between two pixels, and are zero outside a square
    of `kernel_size`. Each sum is a sum over the whole image plus a depthwise convolution:

    $$y = \sigma(q) \frac{\sum \exp(k)\, v + (\exp(w) - 1) * (\exp(k)\, v)}
        {\sum \exp(k) + (\exp(w) - 1) * \exp(k)}, \quad
        w^i = \gamma^i \frac{b^i - \mathrm{mean}(b^i)}{\mathrm{std}(b^i)} + \beta^i$$

    q, k and v are linear maps of the pixels with biases, and so is the projection of y, if there is
    one. k has one channel for each head i. v and q have `hidden_dim / num_heads` consecutive
    channels for each head. \(*\) is the convolution of deep learning: w is centred on each pixel
    without being flipped, and pixels outside the image add nothing. Mean and standard deviation
    (divided by N, not N - 1) are those of the `kernel_size` x `kernel_size` numbers b of a head;
    \(\gamma\) and \(\beta\) are initialised to zero.

    Args:
        num_heads: Number of heads; must divide `hidden_dim`.
        kernel_size: Odd side of the square of biases.
        hidden_dim: Width of query and value; `None` = C.
        output_dim: Width of the output projection; `None` = no projection.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.

    Returns:
        Image of the input's height and width, with `output_dim` channels; if that is `None`, with
        `hidden_dim` channels, or C.

    Raises:
        ValueError: If an argument is not a positive integer, `kernel_size` is even, the width is
            not a multiple of `num_heads`, or the input is not an image of a known number of
            channels.

    Example:
        >>> import numpy as np
        >>> AFTConv(num_heads=4, kernel_size=3)(np.ones((2, 7, 6, 32))).shape
        (2, 7, 6, 32)

    Reference:
        arXiv:2105.14103, equation 6 and the re-parametrisation of section 3.2. The names of the
        parameters are similar to those of rish-16/aft-pytorch, whose `AFTConv` is empty.

    Differs from the paper:
        There is no difference in exact arithmetic; the authors released no code. If w is far below
        zero, the difference \(\exp(w) - 1\) cancels most of the sum over the image, and precision
        is lost. Therefore the pixels outside the square are summed separately. The result is that
        of the formula, up to rounding, if the biases w of each head, and 0, differ by less than 60;
        a bias that is further below the largest one is treated as 60 below it.
    """

    split = {"query": "heads", "key": "heads", "value": "heads", "project": "head inputs"}

    def __init__(
        self,
        num_heads: int,
        kernel_size: int,
        *,
        hidden_dim: int | None = None,
        output_dim: int | None = None,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(hidden_dim, output_dim, **kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)

    def build(self, input_shape: Shape) -> None:
        """Create the projections and the relative biases."""
        _, _, channels = self.check_image(input_shape)
        width = self.hidden_dim or channels
        self._head_width = checks.divisible(
            self, "the width of query and value", width, "num_heads", self.num_heads
        )
        self._build_projections(channels, key_width=self.num_heads)
        shape = (self.num_heads, self.kernel_size, self.kernel_size)
        # autocast=False: exponentials are taken in float32.
        self.position_bias: keras.Variable = self.add_weight(
            name="position_bias", shape=shape, autocast=False
        )
        options = {"shape": shape[:1], "initializer": "zeros", "autocast": False}
        self.gamma: keras.Variable = self.add_weight(name="gamma", **options)
        self.beta: keras.Variable = self.add_weight(name="beta", **options)

    def _biases(self) -> Tensor:
        """Return the normalised biases, `(heads, kernel_size ** 2)`."""
        bias = ops.reshape(upcast(self.position_bias), (self.num_heads, self.kernel_size**2))
        bias = bias - ops.mean(bias, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(bias), axis=-1, keepdims=True)
        # The bound is for equal biases, as with kernel_size=1: a gradient of sqrt at 0 is infinite.
        bias = bias / ops.sqrt(ops.maximum(variance, 1e-12))
        return ops.expand_dims(upcast(self.gamma), 1) * bias + ops.expand_dims(upcast(self.beta), 1)

    def _each_channel(self, x: Tensor) -> Tensor:
        """Repeat each head on the last axis for each of its channels."""
        return ops.repeat(x, self._head_width, axis=-1)

    def call(self, x: Tensor) -> Tensor:
        """Average the values of `x`."""
        x = self.to_channels_last(x)
        value = upcast(self.value(x))  # (B, H, W, D)
        key = key_exponential(upcast(self.key(x)), axis=(1, 2))  # (B, H, W, heads)
        terms = ops.concatenate([self._each_channel(key) * value, key], axis=-1)

        # For each head the biases of the square, then zero: the bias of all pixels outside it.
        bias = ops.pad(self._biases(), ((0, 0), (0, 1)))
        bias = ops.transpose(bias_exponential(bias))  # (kernel_size ** 2 + 1, heads)
        bias = ops.concatenate([self._each_channel(bias), bias], axis=-1)
        size, channels = self.kernel_size, self.num_heads * (self._head_width + 1)
        kernel = ops.reshape(bias[:-1], (size, size, 1, channels))
        sums = conv2d(terms, kernel) + bias[-1] * sum_beyond(terms, size // 2)

        weighted, weights = split_at(sums, value.shape[-1])
        mean = quotient(weighted, self._each_channel(weights))  # (B, H, W, D)
        return self.from_channels_last(self._gate(x, mean))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape, with the width of the output."""
        return self.from_channels_last_shape(
            super().compute_output_shape(self.channels_last_shape(input_shape))
        )

    def torch_names(self) -> TorchNames:
        """Name the parameters in the style of rish-16/aft-pytorch."""
        biases = {"wbias": self.position_bias, "gamma": self.gamma, "beta": self.beta}
        return {**super().torch_names(), **biases}
