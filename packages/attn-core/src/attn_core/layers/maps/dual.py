"""Dual attention: between all positions, and between all channels."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.attention import attend
from attn_core.ops.precision import softmax, upcast


@keras.saving.register_keras_serializable(package="attn_core")
class PositionAttention(ImageLayer):
    r"""Position attention: every position adds what it gathers from all that resemble it.

    One head of dot-product attention over the N = HW positions, without a factor for the scores,
    on a residual path that opens as the scalar gamma leaves 0:

    $$y = x + \gamma\,\mathrm{softmax}(Q K^\top) V$$

    Args:
        reduction: Factor by which queries and keys are narrower than C; their width is
            `max(1, C // reduction)`.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the attention map,
        `(B, 1, H * W, H * W)`.

    Raises:
        ValueError: If `reduction` is not a positive integer, or the input is not an image of a
            known number of channels.

    Example:
        >>> import numpy as np
        >>> PositionAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Fu, Liu, Tian, Li, Bao, Fang, Lu, "Dual Attention Network for Scene Segmentation", CVPR
        2019, arXiv:1809.02983; numbers as junfu1115/DANet `PAM_Module`.

    Differs from the paper:
        Queries and keys have C / 8 channels, as in the released code, not C. The bias of the keys
        shifts all scores of a query alike: it has no effect and no gradient, and is kept for the
        authors' weights. The old collections take scaled multi-head attention after a convolution
        instead, without gamma.
    """

    def __init__(self, reduction: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.reduction = self.integer("reduction", reduction)

    def build(self, input_shape):
        """Create the projections and gamma."""
        _, _, channels = self.check_image(input_shape)
        width = max(1, channels // self.reduction)
        self.query = keras.layers.Dense(width, dtype=self.dtype_policy, name="query")
        self.key = keras.layers.Dense(width, dtype=self.dtype_policy, name="key")
        self.value = keras.layers.Dense(channels, dtype=self.dtype_policy, name="value")
        for layer in (self.query, self.key, self.value):
            layer.build((None, None, 1, channels))
        self.gamma = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    def call(self, x, return_attention_scores=False):
        """Attend between the positions of `x`."""
        x = self.to_channels_last(x)
        height, width, channels = *ops.shape(x)[1:3], x.shape[-1]
        tokens = ops.reshape(x, (-1, height * width, 1, channels))  # (B, N, 1, C): one head
        output, attention = attend(
            self.query(tokens),
            self.key(tokens),
            self.value(tokens),
            scale=1.0,
            return_attention_scores=return_attention_scores,
        )
        output = x + self.gamma * ops.reshape(output, (-1, height, width, channels))
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the attention map."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        positions = None if None in (height, width) else height * width
        return batch, 1, positions, positions

    def torch_names(self) -> dict:
        """Name the parameters as junfu1115/DANet does."""
        return {
            "gamma": self.gamma,
            "query_conv": self.query,
            "key_conv": self.key,
            "value_conv": self.value,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class ChannelSelfAttention(ImageLayer):
    r"""Channel self-attention: every channel adds what it gathers from the others.

    The channels' own maps serve as queries, keys and values; the sign of the scores lets a channel
    attend to those least like it. The residual path opens as the scalar gamma leaves 0:

    $$y = x + \gamma\,x\,\mathrm{softmax}(-x^\top x)^\top, \quad x \in \mathbb{R}^{HW \times C}$$

    Args:
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the attention map,
        `(B, 1, C, C)`.

    Raises:
        ValueError: If the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> ChannelSelfAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Fu, Liu, Tian, Li, Bao, Fang, Lu, "Dual Attention Network for Scene Segmentation", CVPR
        2019, arXiv:1809.02983; numbers as junfu1115/DANet `CAM_Module`.

    Differs from the paper:
        The scores are negative, as in the released code (which subtracts them from their maximum;
        the softmax is the same). The old collections take scaled dot-product attention with
        projections instead, without gamma; that in TensorFlow mixes channels with positions.
    """

    def build(self, input_shape):
        """Create gamma."""
        self.check_image(input_shape)
        self.gamma = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    def call(self, x, return_attention_scores=False):
        """Attend between the channels of `x`."""
        x = self.to_channels_last(x)
        height, width, channels = *ops.shape(x)[1:3], x.shape[-1]
        tokens = ops.reshape(x, (-1, height * width, channels))  # (B, N, C)
        wide = upcast(tokens)  # sums of squares over all positions overflow half precision
        scores = ops.matmul(ops.transpose(wide, (0, 2, 1)), wide)  # (B, C, C)
        attention = ops.cast(softmax(-scores), x.dtype)
        output = ops.matmul(tokens, ops.transpose(attention, (0, 2, 1)))  # (B, N, C)
        output = x + self.gamma * ops.reshape(output, (-1, height, width, channels))
        return self.result(
            self.from_channels_last(output), ops.expand_dims(attention, 1), return_attention_scores
        )

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the attention map."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return batch, 1, channels, channels

    def torch_names(self) -> dict:
        """Name the parameters as junfu1115/DANet does."""
        return {"gamma": self.gamma}


@keras.saving.register_keras_serializable(package="attn_core")
class DualAttention(ImageLayer):
    r"""Dual attention: adds attention between positions to attention between channels.

    The sum of `PositionAttention` P and `ChannelSelfAttention` S, each with its own residual:

    $$y = P(x) + S(x)$$

    Args:
        reduction: Factor by which the queries and keys of the position attention are narrower
            than C; their width is `max(1, C // reduction)`.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the two attention maps too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the maps of the
        positions, `(B, 1, H * W, H * W)`, and of the channels, `(B, 1, C, C)`, as a tuple.

    Raises:
        ValueError: If `reduction` is not a positive integer, or the input is not an image of a
            known number of channels.

    Example:
        >>> import numpy as np
        >>> DualAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Fu, Liu, Tian, Li, Bao, Fang, Lu, "Dual Attention Network for Scene Segmentation", CVPR
        2019, arXiv:1809.02983; numbers as junfu1115/DANet `PAM_Module` and `CAM_Module`.

    Differs from the paper:
        The convolutions before and after the two modules belong to the authors' segmentation head
        and are not part of the layer. See `PositionAttention` and `ChannelSelfAttention` for the
        rest.
    """

    def __init__(self, reduction: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.reduction = self.integer("reduction", reduction)

    def build(self, input_shape):
        """Create the two attentions."""
        _, _, channels = self.check_image(input_shape)
        # Channels last, whatever this layer's format: the image is transposed once, not twice.
        options = {"data_format": "channels_last", "dtype": self.dtype_policy}
        self.position = PositionAttention(self.reduction, name="position", **options)
        self.channel = ChannelSelfAttention(name="channel", **options)
        self.position.build((None, None, None, channels))
        self.channel.build((None, None, None, channels))

    def call(self, x, return_attention_scores=False):
        """Attend between the positions and between the channels of `x`."""
        x = self.to_channels_last(x)
        if not return_attention_scores:
            return self.from_channels_last(self.position(x) + self.channel(x))
        positions, position_map = self.position(x, return_attention_scores=True)
        channels, channel_map = self.channel(x, return_attention_scores=True)
        return self.from_channels_last(positions + channels), (position_map, channel_map)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shapes of the two attention maps."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        positions = None if None in (height, width) else height * width
        return (batch, 1, positions, positions), (batch, 1, channels, channels)

    def torch_names(self) -> dict:
        """Name the parameters as in `DANetHead` of junfu1115/DANet."""
        return {"sa": self.position, "sc": self.channel}
