"""Spatial group-wise enhance."""

import math
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.eager import reshape
from attn_core._ops.groups import sum_groups
from attn_core._ops.precision import upcast
from attn_core._ops.tokens import size, spatial
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer
from attn_core.layers._maps import Gate, Map


@keras.saving.register_keras_serializable(package="attn_core")
class SpatialGroupEnhance(ImageLayer):
    r"""Spatial group-wise enhance: rescales positions by their similarity to the group's average.

    In each group of channels, the similarity of a position is the dot product of its features with
    their average over the image. The similarities are normalised over the image, and the gates are
    computed from them:

    $$s_{hw} = x_{hw} \cdot \mathrm{mean}_{hw}(x) \qquad
    y = x \cdot \sigma\Big(w\,\frac{s - \mathrm{mean}(s)}{\mathrm{std}(s) + 10^{-5}} + b\Big)$$

    Args:
        groups: Number of groups of channels; each has one weight w and one bias b.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic, C must be a multiple of
            `groups`. Signals, `(B, T, C)`, and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate of each group,
        `(B, H, W, groups)` or `(B, groups, H, W)`.

    Raises:
        ValueError: If `groups` is not a positive integer, or the input is not an image, signal or
            volume of a known number of channels that is a multiple of `groups`.

    Example:
        >>> import numpy as np
        >>> SpatialGroupEnhance(groups=8)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1905.09646. The outputs are the same as those of implus/PytorchInsight
        `SpatialGroupEnhance`.

    Differs from the paper:
        The standard deviation is unbiased, as in the released code (a sum divided by N - 1). An
        image of one position, whose standard deviation is undefined, gets the gate sigmoid(b). As
        in that code, w is initialised to 0 and b to 1. The External-Attention collections
        initialise b to 0; the one in TensorFlow mixes positions with channels and uses the biased
        standard deviation.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(),)

    def __init__(self, groups: int = 64, **kwargs: Unpack[ImageArguments]) -> None:
        super().__init__(**kwargs)
        self.groups: int = checks.integer(self, "groups", groups)

    def build(self, input_shape: Shape) -> None:
        """Create the weight and the bias of each group."""
        channels = self.check_channels(input_shape)
        checks.divisible(self, "the number of channels", channels, "groups", self.groups)
        shape = (self.groups,)
        self.scale: keras.Variable = self.add_weight(shape, initializer="zeros", name="scale")
        self.bias: keras.Variable = self.add_weight(shape, initializer="ones", name="bias")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Gate the positions of each group of `x`."""
        x = self.to_channels_last(x)
        precise = upcast(x)
        average = ops.mean(precise, axis=spatial(x), keepdims=True)
        similarity = sum_groups(precise * average, self.groups)  # (B, ..., groups)
        similarity = self._norm(similarity)
        gate = ops.sigmoid(similarity * upcast(self.scale) + upcast(self.bias))
        gate = ops.cast(gate, x.dtype)

        features = reshape(x, (*ops.shape(gate), -1))
        output = reshape(features * ops.expand_dims(gate, -1), ops.shape(x))
        output = self.from_channels_last(output)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def _norm(self, x: Tensor) -> Tensor:
        """Standardise the map of each group over its positions."""
        over, positions = {"axis": spatial(x), "keepdims": True}, math.prod(size(x))
        x = x - ops.mean(x, **over)
        squares = ops.sum(ops.square(x), **over)
        variance = squares / ops.cast(ops.maximum(positions - 1, 1), x.dtype)
        # A constant image has the variance 0, where the root has no gradient.
        return x / (ops.sqrt(ops.maximum(variance, 1e-30)) + 1e-5)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gates of all groups."""
        return self.position_gate_shape(input_shape, self.groups)

    def torch_names(self) -> TorchNames:
        """Name the parameters as implus/PytorchInsight does."""
        return {"weight": self.scale, "bias": self.bias}
