"""Efficient multi-scale attention (EMA)."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.eager import reshape
from attn_core._ops.precision import mean, softmax
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import GroupNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class EfficientMultiScaleAttention(ImageLayer):
    r"""Efficient multi-scale attention: rescales each pixel of a channel group by two branches.

    The channels are split into `groups` groups s of n = C / groups channels, and all groups share
    the same weights. One branch rescales the rows and the columns, the other is a 3x3 convolution.
    Each branch is summed over its channels, with weights computed from the mean of the other
    branch:

    $$y_1 = \mathrm{GN}(s \cdot \sigma(P\,\mathrm{mean}_w(s)) \cdot \sigma(P\,\mathrm{mean}_h(s))),
    \qquad y_2 = K * s$$
    $$a_i = \mathrm{softmax}_n(\mathrm{mean}_{hw}(y_i)), \qquad
    y = s \cdot \sigma(a_1 \cdot y_2 + a_2 \cdot y_1)$$

    P is a 1x1 convolution and K a 3x3 convolution; both map n to n channels and have biases. GN is
    a group normalization that normalises each channel separately, over the image, with
    $\epsilon = 10^{-5}$ and a weight and a bias for each channel. The gate is one number for each
    pixel and group.

    Args:
        groups: Number of groups; it must divide C.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate, of the same
        shape and equal within a group.

    Raises:
        ValueError: If `groups` is not a positive integer that divides the number of channels, or
            the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> EfficientMultiScaleAttention(groups=8)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:2305.13563. The outputs are the same as those of YOLOonMe/EMA-attention-module `EMA`,
        whose `factor` is `groups`.

    Differs from the paper:
        There is no difference in what the paper describes. GN subtracts the mean of each channel,
        so the mean of $y_1$ is the bias of GN, and $a_1$ is the same for every input. If a group
        has one channel, both softmaxes are 1.
    """

    maps: ClassVar[tuple[Map, ...]] = (Gate(),)

    def __init__(self, groups: int = 32, **kwargs: Unpack[ImageArguments]) -> None:
        super().__init__(**kwargs)
        self.groups: int = checks.integer(self, "groups", groups)

    def build(self, input_shape: Shape) -> None:
        """Create the two convolutions and the norm, for the channels of one group."""
        _, _, channels = self.check_image(input_shape)
        width = checks.divisible(self, "the number of channels", channels, "groups", self.groups)
        shape = (None, None, None, width)
        self.pointwise: keras.layers.Dense = dense(self, width, width, "pointwise")
        self.norm: GroupNormalization = child(
            self, GroupNormalization, width, shape=shape, name="norm"
        )
        self.spatial: Conv2D = child(self, Conv2D, width, 3, shape=shape, name="spatial")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale every pixel of each group of `x`."""
        x = self.to_channels_last(x)
        height, width = ops.shape(x)[1:3]
        part = x.shape[-1] // self.groups
        groups = reshape(x, (-1, height, width, self.groups, part))
        groups = ops.transpose(groups, (0, 3, 1, 2, 4))  # (B, groups, H, W, n)
        groups = reshape(groups, (-1, height, width, part))  # (B * groups, H, W, n)

        rows = ops.sigmoid(self.pointwise(mean(groups, axis=2, keepdims=True)))
        columns = ops.sigmoid(self.pointwise(mean(groups, axis=1, keepdims=True)))
        gated = self.norm(groups * rows * columns)
        convolved = self.spatial(groups)
        # The mean of each channel over the image is the norm's bias.
        of_gated = ops.cast(softmax(self.norm.beta), x.dtype)  # (n,)
        of_convolved = softmax(mean(convolved, axis=(1, 2), keepdims=True))  # (B * groups, 1, 1, n)
        gate = ops.sum(of_gated * convolved + of_convolved * gated, axis=-1)
        gate = ops.sigmoid(gate)  # (B * groups, H, W)

        gate = reshape(gate, (-1, self.groups, height, width))
        gate = ops.expand_dims(ops.transpose(gate, (0, 2, 3, 1)), -1)  # (B, H, W, groups, 1)
        gate = gate * ops.ones((part,), gate.dtype)  # ONNX has no `repeat`
        gate = reshape(gate, (-1, height, width, x.shape[-1]))
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate, the input's."""
        return tuple(input_shape)

    def torch_names(self) -> TorchNames:
        """Name the parameters as YOLOonMe/EMA-attention-module does."""
        return {"gn": self.norm, "conv1x1": self.pointwise, "conv3x3": self.spatial}
