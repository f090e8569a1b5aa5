"""Spatial group-wise enhance."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.precision import upcast


@keras.saving.register_keras_serializable(package="attn_core")
class SpatialGroupEnhance(ImageLayer):
    r"""Spatial group-wise enhance: weighs positions by their likeness to their group's average.

    In each group of channels, the product of a position's features with the group's average over
    the image says how alike they are; the likeness, normalised over the image, gates the position:

    $$s_{hw} = x_{hw} \cdot \mathrm{mean}_{hw}(x) \qquad
    y = x \cdot \sigma\Big(w\,\frac{s - \mathrm{mean}(s)}{\mathrm{std}(s) + 10^{-5}} + b\Big)$$

    Args:
        groups: Number of groups of channels; each has one weight w and one bias b.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic, C is a multiple of
            `groups`.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate of each group,
        `(B, H, W, groups)` or `(B, groups, H, W)`.

    Raises:
        ValueError: If `groups` is not a positive integer, or the input is not an image of a known
            number of channels that divides by `groups`.

    Example:
        >>> import numpy as np
        >>> SpatialGroupEnhance(groups=8)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Li, Hu, Yang, "Spatial Group-wise Enhance: Improving Semantic Feature Learning in
        Convolutional Networks", 2019, arXiv:1905.09646; numbers as implus/PytorchInsight
        `SpatialGroupEnhance`.

    Differs from the paper:
        The standard deviation is the released code's, unbiased (a sum over N - 1). A map of one
        position, whose standard deviation is undefined, gets the gate sigmoid(b). As in that code
        w starts at 0 and b at 1; the External-Attention collections start b at 0, and the one in
        TensorFlow mixes positions with channels and takes the biased standard deviation.
    """

    def __init__(self, groups: int = 64, **kwargs):
        super().__init__(**kwargs)
        self.groups = self.integer("groups", groups)

    def build(self, input_shape):
        """Create the weight and the bias of each group."""
        _, _, channels = self.check_image(input_shape)
        self.divisible("the number of channels", channels, "groups", self.groups)
        self.scale = self.add_weight(shape=(self.groups,), initializer="zeros", name="scale")
        self.bias = self.add_weight(shape=(self.groups,), initializer="ones", name="bias")

    def call(self, x, return_attention_scores=False):
        """Gate the positions of each group of `x`."""
        x = self.to_channels_last(x)
        batch, height, width = ops.shape(x)[:3]
        grouped = (batch, height, width, self.groups, x.shape[-1] // self.groups)
        features = ops.reshape(x, grouped)

        precise = upcast(features)
        average = ops.mean(precise, axis=(1, 2), keepdims=True)
        likeness = ops.sum(precise * average, axis=-1)  # (B, H, W, groups)
        likeness = self._norm(likeness, height * width)
        gate = ops.sigmoid(likeness * upcast(self.scale) + upcast(self.bias))
        gate = ops.cast(gate, x.dtype)

        output = ops.reshape(features * ops.expand_dims(gate, -1), ops.shape(x))
        output = self.from_channels_last(output)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def _norm(self, x, positions):
        """Standardise over the `positions` of the map."""
        x = x - ops.mean(x, axis=(1, 2), keepdims=True)
        squares = ops.sum(ops.square(x), axis=(1, 2), keepdims=True)
        variance = squares / ops.cast(ops.maximum(positions - 1, 1), x.dtype)
        # The root has no gradient at 0, where a constant image is: keep away from it.
        return x / (ops.sqrt(ops.maximum(variance, 1e-30)) + 1e-5)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the groups' gates."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        return self.own_shape((batch, height, width, self.groups))

    def torch_names(self) -> dict:
        """Name the parameters as implus/PytorchInsight does."""
        return {"weight": self.scale, "bias": self.bias}
