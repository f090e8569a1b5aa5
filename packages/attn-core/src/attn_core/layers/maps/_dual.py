"""Dual attention: between all positions, and between all channels."""

from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend
from attn_core._ops.precision import softmax, upcast
from attn_core._ops.tokens import size, to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer, positions
from attn_core.layers._children import child, dense
from attn_core.layers._maps import Attention


@keras.saving.register_keras_serializable(package="attn_core")
class PositionAttention(ImageLayer):
    r"""Position attention: adds dot-product attention between all positions to the image.

    There is one head, over the N = HW positions, and its scores are not scaled. The attention is
    multiplied by a learned scalar gamma, initialised to 0, and added to the input:

    $$y = x + \gamma\,\mathrm{softmax}(Q K^\top) V$$

    Args:
        reduction: Queries and keys have `max(1, C // reduction)` channels.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the attention map,
        `(B, 1, H * W, H * W)`.

    Raises:
        ValueError: If `reduction` is not a positive integer, or the input is not an image, signal
            or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> PositionAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1809.02983. The outputs are the same as those of junfu1115/DANet `PAM_Module`.

    Differs from the paper:
        Queries and keys have C / 8 channels, as in the released code, not C. The bias of the keys
        adds the same number to all scores of a query, so it has no effect and no gradient; it
        exists so that the authors' weights can be loaded. The External-Attention collections
        instead have scaled multi-head attention after a convolution, without gamma.
    """

    spatial_axes = ANY_SPACE
    maps = (Attention(),)

    def __init__(self, reduction: int = 8, **kwargs: Unpack[ImageArguments]) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)

    def build(self, input_shape: Shape) -> None:
        """Create the projections and gamma."""
        channels = self.check_channels(input_shape)
        width = max(1, channels // self.reduction)
        self.query: keras.layers.Dense = dense(self, channels, width, "query")
        self.key: keras.layers.Dense = dense(self, channels, width, "key")
        self.value: keras.layers.Dense = dense(self, channels, channels, "value")
        self.gamma: keras.Variable = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Attend between the positions of `x`."""
        x = self.to_channels_last(x)
        tokens = ops.expand_dims(to_tokens(x), 2)  # (B, N, 1, C): one head
        output, attention = attend(
            self.query(tokens),
            self.key(tokens),
            self.value(tokens),
            scale=1.0,
            return_attention_scores=return_attention_scores,
        )
        output = x + self.gamma * to_image(output, *size(x))
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention map."""
        batch, *lengths, _ = self.channels_last_shape(input_shape)
        return batch, 1, positions(*lengths), positions(*lengths)

    def torch_names(self) -> TorchNames:
        """Name the parameters as junfu1115/DANet does."""
        return {
            "gamma": self.gamma,
            "query_conv": self.query,
            "key_conv": self.key,
            "value_conv": self.value,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class ChannelSelfAttention(ImageLayer):
    r"""Channel self-attention: adds dot-product attention between all channels to the image.

    The channels themselves are queries, keys and values; each is a vector of HW numbers. The scores
    are negative, so that a channel attends most to the channels that are least similar to it. The
    attention is multiplied by a learned scalar gamma, initialised to 0, and added to the input:

    $$y = x + \gamma\,x\,\mathrm{softmax}(-x^\top x)^\top, \quad x \in \mathbb{R}^{HW \times C}$$

    Args:
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the attention map,
        `(B, 1, C, C)`.

    Raises:
        ValueError: If the input is not an image, signal or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> ChannelSelfAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1809.02983. The outputs are the same as those of junfu1115/DANet `CAM_Module`.

    Differs from the paper:
        The scores are negative, as in the released code (which subtracts them from their maximum;
        the softmax is the same). The External-Attention collections instead have scaled dot-product
        attention with projections, without gamma; the one in TensorFlow mixes channels with
        positions.
    """

    spatial_axes = ANY_SPACE
    maps = (Attention("", "channel", "channel"),)

    def build(self, input_shape: Shape) -> None:
        """Create gamma."""
        self.check_channels(input_shape)
        self.gamma: keras.Variable = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Attend between the channels of `x`."""
        x = self.to_channels_last(x)
        tokens = to_tokens(x)  # (B, N, C)
        wide = upcast(tokens)  # sums of squares over all positions overflow half precision
        scores = ops.matmul(ops.transpose(wide, (0, 2, 1)), wide)  # (B, C, C)
        attention = ops.cast(softmax(-scores), x.dtype)
        output = ops.matmul(tokens, ops.transpose(attention, (0, 2, 1)))  # (B, N, C)
        output = x + self.gamma * to_image(output, *size(x))
        return self.result(
            self.from_channels_last(output), ops.expand_dims(attention, 1), return_attention_scores
        )

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention map."""
        batch, *_, channels = self.channels_last_shape(input_shape)
        return batch, 1, channels, channels

    def torch_names(self) -> TorchNames:
        """Name the parameters as junfu1115/DANet does."""
        return {"gamma": self.gamma}


@keras.saving.register_keras_serializable(package="attn_core")
class DualAttention(ImageLayer):
    r"""Dual attention: the sum of attention between positions and attention between channels.

    P is `PositionAttention` and S is `ChannelSelfAttention`. Both add the input, so the sum
    contains it twice:

    $$y = P(x) + S(x)$$

    Args:
        reduction: Queries and keys of the position attention have `max(1, C // reduction)`
            channels.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the two attention maps too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of the maps of
        the positions, `(B, 1, H * W, H * W)`, and of the channels, `(B, 1, C, C)`.

    Raises:
        ValueError: If `reduction` is not a positive integer, or the input is not an image, signal
            or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> DualAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1809.02983. The outputs are the same as those of junfu1115/DANet `PAM_Module` and
        `CAM_Module`.

    Differs from the paper:
        The convolutions before and after the two modules belong to the authors' segmentation head,
        and are not part of the layer. For other differences see `PositionAttention` and
        `ChannelSelfAttention`.
    """

    spatial_axes = ANY_SPACE
    maps = (Attention(""), Attention("", "channel", "channel"))

    def __init__(self, reduction: int = 8, **kwargs: Unpack[ImageArguments]) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)

    def build(self, input_shape: Shape) -> None:
        """Create the two attentions."""
        self.check_channels(input_shape)
        shape = self.channels_last_shape(input_shape)
        # Channels last, whatever this layer's format: the image is transposed once, not twice.
        options = {"shape": shape, "data_format": "channels_last"}
        self.position: PositionAttention = child(
            self, PositionAttention, self.reduction, name="position", **options
        )
        self.channel: ChannelSelfAttention = child(
            self, ChannelSelfAttention, name="channel", **options
        )

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Attend between the positions and between the channels of `x`."""
        x = self.to_channels_last(x)
        if not return_attention_scores:
            return self.from_channels_last(self.position(x) + self.channel(x))
        positions, position_map = self.position(x, return_attention_scores=True)
        channels, channel_map = self.channel(x, return_attention_scores=True)
        return self.from_channels_last(positions + channels), (position_map, channel_map)

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the two attention maps."""
        batch, *lengths, channels = self.channels_last_shape(input_shape)
        tokens = positions(*lengths)
        return (batch, 1, tokens, tokens), (batch, 1, channels, channels)

    def torch_names(self) -> TorchNames:
        """Name the parameters as in `DANetHead` of junfu1115/DANet."""
        return {"sa": self.position, "sc": self.channel}
