"""SimAM, a gate without weights."""

import math
from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import upcast
from attn_core._ops.tokens import size, spatial
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer
from attn_core.layers._maps import Gate


@keras.saving.register_keras_serializable(package="attn_core")
class SimAM(ImageLayer):
    r"""SimAM: rescales each value by how much it differs from its channel's mean, without weights.

    A value is considered important if it differs much from the mean of its channel over the image.
    The gate grows with the squared difference from this mean, divided by the variance:

    $$d = (x - \mathrm{mean}_{hw}(x))^2 \qquad
    y = x \cdot \sigma\Big(\frac{d}{4\,(\sum_{hw} d / (H W - 1) + \epsilon)} + \frac{1}{2}\Big)$$

    Args:
        epsilon: Positive number that is added to the variance, so that the gate is also defined for
            a constant channel. The authors call it lambda.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`, of two positions or more; H and W may be
            dynamic. Signals, `(B, T, C)`, and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate, of the same
        shape, between 0.62 and 1.

    Raises:
        ValueError: If `epsilon` is not a positive number, or the input is not an image, signal or
            volume of a known number of channels, or has one position only: its variance is 0 / 0.

    Example:
        >>> import numpy as np
        >>> SimAM()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Proceedings of Machine Learning Research 139. The outputs are the same as those of
        ZjjConan/SimAM `simam_module`, whose `e_lambda` is `epsilon`.

    Differs from the paper:
        The variance is the released code's, unbiased (a sum over H W - 1); the paper divides by
        H W. In that code, an image of one position gives NaN; here it raises an error.
    """

    spatial_axes = ANY_SPACE

    maps = (Gate(),)

    def __init__(self, epsilon: float = 1e-4, **kwargs: Unpack[ImageArguments]) -> None:
        super().__init__(**kwargs)
        self.epsilon: float = checks.positive(self, "epsilon", epsilon)

    def build(self, input_shape: Shape) -> None:
        """Check the shape; there are no weights."""
        self.check_channels(input_shape)
        self._check_positions(input_shape)

    def _check_positions(self, shape: Shape) -> None:
        if all(length == 1 for length in self.channels_last_shape(shape)[1:-1]):
            message = "the input must have two positions or more: the variance of one is 0 / 0."
            raise checks.error(self, message, f"shape {tuple(shape)}")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale every value of `x`."""
        self._check_positions(tuple(x.shape))
        x = self.to_channels_last(x)
        over = {"axis": spatial(x), "keepdims": True}
        precise = upcast(x)
        distance = ops.square(precise - ops.mean(precise, **over))
        variance = ops.sum(distance, **over)  # (B, 1, ..., C)
        variance = variance / ops.cast(math.prod(size(x)) - 1, distance.dtype)
        gate = ops.sigmoid(distance / (4 * (variance + self.epsilon)) + 0.5)
        gate = ops.cast(gate, x.dtype)  # (B, ..., C)
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate, the input's."""
        return tuple(input_shape)

    def torch_names(self) -> TorchNames:
        """Return no names: there are no weights."""
        return {}
