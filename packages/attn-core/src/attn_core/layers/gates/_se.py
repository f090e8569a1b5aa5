"""Squeeze-and-excitation."""

from typing import Any, ClassVar, Unpack

import keras

from attn_core import _checks as checks
from attn_core._ops.precision import mean
from attn_core._ops.tokens import spatial
from attn_core._typing import ImageArguments, Shape, Tensor
from attn_core._weights.entries import Schemes
from attn_core.layers._base import ANY_SPACE, ImageLayer
from attn_core.layers._children import dense
from attn_core.layers._maps import Gate, Map


@keras.saving.register_keras_serializable(package="attn_core")
class SEAttention(ImageLayer):
    r"""Squeeze-and-excitation: rescales each channel by a weight computed from all channel means.

    Each channel is averaged over the image. From these averages, two small dense layers compute one
    weight per channel, between 0 and 1:

    $$y = x \cdot \sigma(W_2\,\mathrm{relu}(W_1\,\mathrm{mean}_{hw}(x)))$$

    Args:
        reduction: Factor by which the hidden width is smaller than C; the width is
            `max(1, C // reduction)`.
        use_bias: Whether the two dense layers have biases.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate,
        `(B, 1, 1, C)` or `(B, C, 1, 1)`.

    Raises:
        ValueError: If `reduction` is not a positive integer, or the input is not an image, signal
            or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> SEAttention(reduction=4)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1709.01507. The outputs are the same as those of moskomule/senet.pytorch `SELayer`.
        Weights of timm's `SEModule` load too, with `use_bias=True` and where its width, a multiple
        of 8, is the same.

    Differs from the paper:
        The dense layers have no biases by default, as in the reference; the authors' Caffe code
        has them (`use_bias=True`).
    """

    split = {"excite": "inputs"}

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(),)

    def __init__(
        self, reduction: int = 16, *, use_bias: bool = False, **kwargs: Unpack[ImageArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)

    def build(self, input_shape: Shape) -> None:
        """Create the two dense layers."""
        channels = self.check_channels(input_shape)
        width = max(1, channels // self.reduction)
        self.squeeze: keras.layers.Dense = dense(
            self, channels, width, "squeeze", activation="relu", use_bias=self.use_bias
        )
        self.excite: keras.layers.Dense = dense(
            self, width, channels, "excite", activation="sigmoid", use_bias=self.use_bias
        )

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale the channels of `x`."""
        x = self.to_channels_last(x)
        gate = mean(x, axis=spatial(x), keepdims=True)  # (B, 1, ..., C)
        gate = self.excite(self.squeeze(gate))
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate."""
        return self.channel_gate_shape(input_shape)

    def torch_names(self) -> Schemes:
        """Name the parameters as moskomule/senet.pytorch does, or as timm does."""
        return Schemes(
            authors={"fc.0": self.squeeze, "fc.2": self.excite},
            timm={"fc1": self.squeeze, "fc2": self.excite},
        )
