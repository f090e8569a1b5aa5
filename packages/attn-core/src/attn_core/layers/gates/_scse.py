"""Concurrent spatial and channel squeeze-and-excitation (scSE)."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean
from attn_core._ops.tokens import spatial
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer, Split
from attn_core.layers._children import dense
from attn_core.layers._maps import Gate, Map


@keras.saving.register_keras_serializable(package="attn_core")
class SCSEAttention(ImageLayer):
    r"""scSE: rescales the channels and, separately, the positions, and combines the two results.

    The channel gate is that of squeeze-and-excitation. For the spatial gate, one dense layer
    computes a number from the channels of each position. The output is the sum of the two rescaled
    images, or the larger value of the two:

    $$c = \sigma(W_2\,\mathrm{relu}(W_1\,\mathrm{mean}_{hw}(x) + b_1) + b_2), \quad
    s = \sigma(w \cdot x + b)$$
    $$y = x \cdot c + x \cdot s \quad \text{or} \quad y = \max(x \cdot c,\ x \cdot s)$$

    Args:
        reduction: Factor by which the hidden width is smaller than C; the width is
            `max(1, C // reduction)`.
        combine: "add", or "max" for the larger of the two products; if x is negative, this is the
            product with the smaller gate.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of the channel
        gate and the spatial gate, `(B, 1, 1, C)` and `(B, H, W, 1)`, or `(B, C, 1, 1)` and
        `(B, 1, H, W)`.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image, signal or
            volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> layer = SCSEAttention(reduction=4, data_format="channels_last")
        >>> y, (channel, spatial) = layer(np.ones((2, 7, 9, 32)), return_attention_scores=True)
        >>> tuple(y.shape), tuple(channel.shape), tuple(spatial.shape)
        ((2, 7, 9, 32), (2, 1, 1, 32), (2, 7, 9, 1))

    Reference:
        arXiv:1803.02579. With "add" the outputs are the same as those of
        qubvel/segmentation_models.pytorch `SCSEModule`, with "max" as those of
        ai-med/squeeze_and_excitation `ChannelSpatialSELayer`. Weights are loaded by the names of
        the one that `combine` selects.

    Differs from the paper:
        The default adds, as the paper of MICCAI 2018 and the decoders in use do. That is an
        exception to the rule of this library: the authors' released code takes the maximum
        (`combine="max"`), with a `reduction` of 2.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(), Gate())
    split: ClassVar[dict[str, Split]] = {"excite": "inputs"}

    def __init__(
        self, reduction: int = 16, *, combine: str = "add", **kwargs: Unpack[ImageArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.combine: str = checks.choice(self, "combine", combine, ("add", "max"))

    def build(self, input_shape: Shape) -> None:
        """Create the two dense layers of the channels and the one of the positions."""
        channels = self.check_channels(input_shape)
        width = max(1, channels // self.reduction)
        self.squeeze: keras.layers.Dense = dense(
            self, channels, width, "squeeze", activation="relu"
        )
        self.excite: keras.layers.Dense = dense(
            self, width, channels, "excite", activation="sigmoid"
        )
        self.spatial: keras.layers.Dense = dense(self, channels, 1, "spatial", activation="sigmoid")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale the channels and the positions of `x`."""
        x = self.to_channels_last(x)
        average = mean(x, axis=spatial(x), keepdims=True)
        channel = self.excite(self.squeeze(average))  # (B, 1, ..., C)
        position = self.spatial(x)  # (B, ..., 1)
        if self.combine == "add":
            output = x * (channel + position)
        else:
            output = ops.maximum(x * channel, x * position)
        gates = self.from_channels_last(channel), self.from_channels_last(position)
        return self.result(self.from_channels_last(output), gates, return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the two gates."""
        return self.channel_gate_shape(input_shape), self.position_gate_shape(input_shape)

    def torch_names(self) -> TorchNames:
        """Name the parameters as the code does whose numbers `combine` gives."""
        if self.combine == "add":
            return {"cSE.1": self.squeeze, "cSE.3": self.excite, "sSE.0": self.spatial}
        return {"cSE.fc1": self.squeeze, "cSE.fc2": self.excite, "sSE.conv": self.spatial}
