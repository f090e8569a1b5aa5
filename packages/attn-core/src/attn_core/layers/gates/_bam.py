"""BAM, the bottleneck attention module."""

from collections.abc import Iterable
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean
from attn_core._ops.tokens import spatial
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Convolution, convolution
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class BAM(ImageLayer):
    r"""BAM: rescales each channel at each position by a gate from a channel and a spatial branch.

    The channel branch is a small network that receives the average over the image. The spatial
    branch reduces the number of channels, applies dilated convolutions (of size 3x3, or 3 for
    signals and 3x3x3 for volumes) and computes one score per position:

    $$y = x \cdot (1 + \sigma(c \cdot s)), \qquad
    c = \mathrm{MLP}(\mathrm{mean}_{hw}(x)), \quad
    s = W_1\, (D_2 * (D_1 * W_0\, x))$$

    with BatchNormalization and relu after every layer except the last of each branch.

    Args:
        reduction: Factor by which both branches are narrower than C; the width is
            `max(1, C // reduction)`.
        dilation: Dilation of the 3x3 convolutions.
        channel_layers: Number of hidden layers of the channel branch.
        spatial_layers: Number of dilated convolutions of the spatial branch.
        combine: "multiply" computes the sigmoid of c * s, as in the authors' code; "add" computes
            the sigmoid of c + s, as in the paper.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        training: Whether BatchNormalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate, of the
        input's shape, with values between 1 and 2.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image, signal or
            volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> tuple(BAM(reduction=4)(np.ones((2, 7, 7, 32))).shape)
        (2, 7, 7, 32)

    Reference:
        arXiv:1807.06514. The outputs are the same as those of Jongchan/attention-module `BAM`.

    Differs from the paper:
        The authors' code multiplies the branches, where equation 2 adds them (`combine="add"`), and
        normalises after every layer except the last, where equations 3 and 4 normalise once, at the
        end. The average is always taken over the whole image; the authors' code pools a window of H
        x H, which is not the whole image if W differs from H. The External-Attention collections
        add the branches, have three hidden layers in each and use dilation 2; the one in PyTorch
        also pads too little.
    """

    split = {"channel_last": "inputs"}

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(),)

    def __init__(
        self,
        reduction: int = 16,
        *,
        dilation: int = 4,
        channel_layers: int = 1,
        spatial_layers: int = 2,
        combine: str = "multiply",
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.dilation: int = checks.integer(self, "dilation", dilation)
        self.channel_layers: int = checks.integer(self, "channel_layers", channel_layers, 0)
        self.spatial_layers: int = checks.integer(self, "spatial_layers", spatial_layers, 0)
        self.combine: str = checks.choice(self, "combine", combine, ("multiply", "add"))

    def build(self, input_shape: Shape) -> None:
        """Create the layers of the two branches, and a norm for each except the last."""
        channels = self.check_channels(input_shape)
        width = max(1, channels // self.reduction)
        hidden = (None,) * (len(input_shape) - 1) + (width,)

        def dilated(name: str) -> Convolution:
            options = {"dilation_rate": self.dilation, "name": name}
            return child(self, convolution(hidden), width, 3, shape=hidden, **options)

        def norms(layers: Iterable[keras.layers.Layer]) -> list[BatchNormalization]:
            names = [f"{layer.name}_norm" for layer in layers]
            return [child(self, BatchNormalization, shape=hidden, name=name) for name in names]

        inputs = [channels] + [width] * self.channel_layers
        self.channel: list[keras.layers.Dense] = [
            dense(self, inputs[index], width, f"channel_{index}")
            for index in range(self.channel_layers)
        ]
        self.channel_last: keras.layers.Dense = dense(self, inputs[-1], channels, "channel_last")
        self.spatial: list[keras.layers.Dense | Convolution] = [
            dense(self, channels, width, "spatial_reduce"),
            *(dilated(f"spatial_{index}") for index in range(self.spatial_layers)),
        ]
        self.spatial_last: keras.layers.Dense = dense(self, width, 1, "spatial_last")
        self.channel_norms: list[BatchNormalization] = norms(self.channel)
        self.spatial_norms: list[BatchNormalization] = norms(self.spatial)

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Rescale every channel at every position of `x`."""
        x = self.to_channels_last(x)
        channel = mean(x, axis=spatial(x), keepdims=True)  # (B, 1, ..., C)
        for layer, norm in zip(self.channel, self.channel_norms, strict=True):
            channel = ops.relu(norm(layer(channel), training=training))
        channel = self.channel_last(channel)  # (B, 1, ..., C)
        position = x
        for layer, norm in zip(self.spatial, self.spatial_norms, strict=True):
            position = ops.relu(norm(layer(position), training=training))
        position = self.spatial_last(position)  # (B, ..., 1)
        scores = channel * position if self.combine == "multiply" else channel + position
        gate = 1 + ops.sigmoid(scores)  # (B, ..., C)
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate, which is that of the input."""
        return tuple(input_shape)

    def torch_names(self) -> TorchNames:
        """Name the parameters as Jongchan/attention-module does."""
        channel, spatial = "channel_att.gate_c.gate_c_", "spatial_att.gate_s.gate_s_"
        names = {f"{channel}fc_final": self.channel_last, f"{spatial}conv_final": self.spatial_last}
        for index, (layer, norm) in enumerate(zip(self.channel, self.channel_norms, strict=True)):
            names |= {f"{channel}fc_{index}": layer, f"{channel}bn_{index + 1}": norm}
        for index, (layer, norm) in enumerate(zip(self.spatial, self.spatial_norms, strict=True)):
            place = f"di_{index - 1}" if index else "reduce0"
            names |= {f"{spatial}conv_{place}": layer, f"{spatial}bn_{place}": norm}
        return names
