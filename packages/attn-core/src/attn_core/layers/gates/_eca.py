"""ECA, efficient channel attention."""

import math
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean
from attn_core._ops.tokens import spatial
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer
from attn_core.layers._maps import Gate, Map


@keras.saving.register_keras_serializable(package="attn_core")
class ECAAttention(ImageLayer):
    r"""Efficient channel attention: rescales each channel by a weight from means of its neighbours.

    Each channel is averaged over the image. From these averages, one small convolution along the
    channels, padded with zeros, computes one weight per channel, between 0 and 1:

    $$y = x \cdot \sigma(w * \mathrm{mean}_{hw}(x)), \qquad
    k = |w| = \Big|\frac{\log_2 C + b}{\gamma}\Big|_\mathrm{odd}$$

    Args:
        kernel_size: Odd number k of weights. `None` uses the formula: the result is rounded down,
            and 1 is added if it is even (0 is even).
        gamma: Divisor in the formula, not 0.
        b: Number added in the formula.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate,
        `(B, 1, 1, C)` or `(B, C, 1, 1)`.

    Raises:
        ValueError: If `kernel_size` is not a positive odd integer, `gamma` or `b` is not a finite
            number, `gamma` is zero, or the input is not an image, signal or volume of a known
            number of channels.

    Example:
        >>> import numpy as np
        >>> layer = ECAAttention()
        >>> tuple(layer(np.ones((2, 7, 7, 128))).shape), layer.count_params()
        ((2, 7, 7, 128), 5)

    Reference:
        arXiv:1910.03151. The outputs are the same as those of BangguWu/ECANet `eca_layer`.

    Differs from the paper:
        The text of the paper takes the nearest odd number; its listing rounds as this layer does.
        The default of the released `eca_layer` is `kernel_size=3`. The External-Attention
        collections have the same default, and their convolution has a bias.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(),)

    def __init__(
        self,
        kernel_size: int | None = None,
        *,
        gamma: float = 2,
        b: float = 1,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size: int | None = checks.optional(checks.odd, self, "kernel_size", kernel_size)
        self.gamma: float = checks.number(self, "gamma", gamma)
        self.b: float = checks.number(self, "b", b)
        if gamma == 0:
            raise checks.error(self, "`gamma` must not be 0.", f"gamma={gamma!r}")

    def build(self, input_shape: Shape) -> None:
        """Create the weights of the convolution."""
        channels = self.check_channels(input_shape)
        size = self.kernel_size
        if size is None:
            size = int(abs((math.log2(channels) + self.b) / self.gamma))
            size += size % 2 == 0
        self.kernel: keras.Variable = self.add_weight(
            shape=(size,), initializer="glorot_uniform", name="kernel"
        )

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale the channels of `x`."""
        x = self.to_channels_last(x)
        size, channels = self.kernel.shape[0], x.shape[-1]
        average = mean(x, axis=spatial(x), keepdims=True)  # (B, 1, ..., C)
        padding = ((0, 0),) * (len(x.shape) - 1)
        average = ops.pad(average, (*padding, (size // 2, size // 2)))
        # A few shifted products: a convolution of one channel costs more on every backend.
        gate = sum(self.kernel[i] * average[..., i : i + channels] for i in range(size))
        gate = ops.sigmoid(gate)
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate."""
        return self.channel_gate_shape(input_shape)

    def torch_names(self) -> TorchNames:
        """Name the parameter as BangguWu/ECANet does."""
        return {"conv.weight": self.kernel}
