"""Effective squeeze-and-excitation (eSE)."""

from typing import Any, ClassVar

import keras
from keras import ops

from attn_core._ops.precision import mean
from attn_core._ops.tokens import spatial
from attn_core._typing import Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer
from attn_core.layers._children import dense
from attn_core.layers._maps import Gate, Map


@keras.saving.register_keras_serializable(package="attn_core")
class EffectiveSEAttention(ImageLayer):
    r"""Effective squeeze-and-excitation: rescales each channel by one dense layer of all means.

    Squeeze-and-excitation first reduces the means of the channels to a smaller width, and so loses
    information. Here one dense layer maps all C means to C numbers, and a hard sigmoid of these is
    the gate:

    $$y = x \cdot \frac{\mathrm{relu6}(W\,\mathrm{mean}_{hw}(x) + b + 3)}{6}$$

    with $\mathrm{relu6}(z) = \min(\max(z, 0), 6)$.

    Args:
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate,
        `(B, 1, 1, C)` or `(B, C, 1, 1)`, between 0 and 1.

    Raises:
        ValueError: If the input is not an image, signal or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> EffectiveSEAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1911.06667. The outputs are the same as those of youngwanLEE/vovnet-detectron2
        `eSEModule`, which are those of timm's `EffectiveSEModule`.

    Differs from the paper:
        The gate is the released code's hard sigmoid; the paper writes a sigmoid. The code has an
        argument `reduction` that it never reads; it is left out here.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(),)

    def build(self, input_shape: Shape) -> None:
        """Create the dense layer."""
        channels = self.check_channels(input_shape)
        self.excite: keras.layers.Dense = dense(self, channels, channels, "excite")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale the channels of `x`."""
        x = self.to_channels_last(x)
        scores = self.excite(mean(x, axis=spatial(x), keepdims=True))  # (B, 1, ..., C)
        gate = ops.relu6(scores + 3) / 6
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate."""
        return self.channel_gate_shape(input_shape)

    def torch_names(self) -> TorchNames:
        """Name the parameters as youngwanLEE/vovnet-detectron2 and timm do."""
        return {"fc": self.excite}
