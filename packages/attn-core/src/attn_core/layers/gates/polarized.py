"""Polarized self-attention, parallel and sequential."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.dense import Dense
from attn_core.layers.normalization import GroupNormalization
from attn_core.ops.precision import mean, softmax, upcast


class _PolarizedSelfAttention(ImageLayer):
    """What both forms share: all but the expansion of the channel gate and the spatial gate.

    The projections are linear: averages over the N positions go before them, for N times less work.
    """

    def build(self, input_shape):
        """Create the projections of both gates."""
        _, _, channels = self.check_image(input_shape)
        width = max(1, channels // 2)
        self.channel_query = self._linear(channels, 1, "channel_query")
        self.channel_value = self._linear(channels, width, "channel_value")
        self.spatial_query = self._linear(channels, width, "spatial_query")
        self.spatial_value = self._linear(channels, width, "spatial_value", kind=Dense)
        self._build_expansion(width, channels)

    def _linear(self, inputs, outputs, name, use_bias=False, kind=keras.layers.Dense):
        layer = kind(outputs, use_bias=use_bias, name=name, dtype=self.dtype_policy)
        layer.build((None, inputs))
        return layer

    def _channel_gate(self, x):
        """Weigh the channels of an image by what its positions of high score hold."""
        x = _flatten(x)
        attention = softmax(self.channel_query(x), axis=1)  # (B, N, 1)
        average = ops.matmul(ops.transpose(attention, (0, 2, 1)), x)  # (B, 1, C)
        gate = ops.sigmoid(self._expand(self.channel_value(average)))
        return ops.expand_dims(gate, 1)  # (B, 1, 1, C)

    def _spatial_gate(self, x):
        """Weigh the positions of an image."""
        batch, height, width = ops.shape(x)[:3]
        x = _flatten(x)
        query = self.spatial_query(mean(x, axis=1, keepdims=True))  # (B, 1, C / 2)
        gate = ops.sigmoid(self._spatial_context(x, upcast(query)))  # (B, N, 1)
        return ops.cast(ops.reshape(gate, (batch, height, width, 1)), x.dtype)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shapes of the channel gate and of the spatial gate."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        return self.own_shape((batch, 1, 1, channels)), self.own_shape((batch, height, width, 1))

    def torch_names(self) -> dict:
        """Name the parameters as DeLightCMU/PSA does."""
        return {
            "conv_q_right": self.channel_query,
            "conv_v_right": self.channel_value,
            "conv_q_left": self.spatial_query,
            "conv_v_left": self.spatial_value,
        }


def _flatten(x):
    return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1]))


@keras.saving.register_keras_serializable(package="attn_core")
class ParallelPolarizedSelfAttention(_PolarizedSelfAttention):
    r"""Parallel polarized self-attention: the sum of the image gated by channel and by position.

    The channel gate comes from an average of the positions, weighed by a softmax over them; the
    spatial gate from the likeness of each position to the average one, softmaxed over positions:

    $$y = x \cdot (g_c + g_s) \qquad
    g_c = \sigma\big(W_z\,W_v\,x^\top \mathrm{softmax}_{hw}(x\,w_q)\big) \qquad
    g_s = \sigma\big(\mathrm{softmax}_{hw}(W'_v x \cdot W'_q\,\mathrm{mean}_{hw}(x))\big)$$

    Args:
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. The inner width is
            `max(1, C // 2)`.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the channel gate and
        the spatial gate, `(B, 1, 1, C)` and `(B, H, W, 1)`, or `(B, C, 1, 1)` and `(B, 1, H, W)`.

    Raises:
        ValueError: If the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> ParallelPolarizedSelfAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Liu, Liu, Fan, Huang, "Polarized Self-Attention: Towards High-quality Pixel-wise
        Regression", 2021, arXiv:2107.00782; numbers as DeLightCMU/PSA `PSA_p`.

    Differs from the paper:
        The numbers are the released code's. The paper takes the softmax of the spatial gate over
        the channels of the averaged query, and normalises the channel gate (LayerNorm) before its
        sigmoid; so does the External-Attention collection in PyTorch. `PSA_p` takes the softmax
        over the positions, after the product, and has neither norm nor biases.
    """

    def _build_expansion(self, width, channels):
        self.expand = self._linear(width, channels, "expand")

    def _expand(self, x):
        return self.expand(x)

    def _spatial_context(self, x, query):
        """Softmax of the likeness of each position's value to the query, `(B, N, 1)`."""
        kernel = upcast(self.spatial_value.kernel)  # (C, C / 2)
        key = ops.matmul(kernel, ops.transpose(query, (0, 2, 1)))  # (B, C, 1)
        return ops.softmax(ops.matmul(upcast(x), key), axis=1)

    def call(self, x, return_attention_scores=False):
        """Gate the channels and the positions of `x`, side by side."""
        x = self.to_channels_last(x)
        channel, spatial = self._channel_gate(x), self._spatial_gate(x)
        output = self.from_channels_last(x * (channel + spatial))
        maps = self.from_channels_last(channel), self.from_channels_last(spatial)
        return self.result(output, maps, return_attention_scores)

    def torch_names(self) -> dict:
        """Name the parameters as DeLightCMU/PSA `PSA_p` does."""
        return {**super().torch_names(), "conv_up": self.expand}


@keras.saving.register_keras_serializable(package="attn_core")
class SequentialPolarizedSelfAttention(_PolarizedSelfAttention):
    r"""Sequential polarized self-attention: gates the channels, then the positions of the result.

    The channel gate comes from an average of the positions, weighed by a softmax over them, through
    a bottleneck f; the spatial gate weighs maps, each a softmax over positions, by the average
    query:

    $$z = x \cdot \sigma\big(f(W_v\,x^\top \mathrm{softmax}_{hw}(x\,w_q))\big) \qquad
    y = z \cdot \sigma\big(\mathrm{softmax}_{hw}(W'_v z) \cdot W'_q\,\mathrm{mean}_{hw}(z)\big)$$

    with f = linear, LayerNorm, relu, linear.

    Args:
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. The inner width is
            `max(1, C // 2)`, that of the bottleneck a quarter of it, but at least 1.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the channel gate and
        the spatial gate, `(B, 1, 1, C)` and `(B, H, W, 1)`, or `(B, C, 1, 1)` and `(B, 1, H, W)`.

    Raises:
        ValueError: If the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> SequentialPolarizedSelfAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Liu, Liu, Fan, Huang, "Polarized Self-Attention: Towards High-quality Pixel-wise
        Regression", 2021, arXiv:2107.00782; numbers as DeLightCMU/PSA `PSA_s`.

    Differs from the paper:
        The numbers are the released code's. The paper takes the softmax of the spatial gate over
        the channels of the averaged query, and has f = linear, LayerNorm; so does the
        External-Attention collection in PyTorch. `PSA_s` takes the softmax of the values, over the
        positions. Below C = 16 the bottleneck holds one number, of which LayerNorm leaves nothing:
        the channel gate no longer depends on the image.
    """

    def _build_expansion(self, width, channels):
        bottleneck = max(1, width // 4)
        self.reduce = self._linear(width, bottleneck, "reduce", use_bias=True)
        # Of a single position: LayerNorm, which Keras cannot export from PyTorch to ONNX as such.
        self.norm = GroupNormalization(name="norm", dtype=self.dtype_policy)
        self.norm.build((None, 1, bottleneck))
        self.expand = self._linear(bottleneck, channels, "expand", use_bias=True)

    def _expand(self, x):
        return self.expand(ops.relu(self.norm(self.reduce(x))))

    def _spatial_context(self, x, query):
        """Maps over the positions, weighed by the query, `(B, N, 1)`."""
        attention = ops.softmax(upcast(self.spatial_value(x)), axis=1)  # (B, N, C / 2)
        return ops.matmul(attention, ops.transpose(query, (0, 2, 1)))

    def call(self, x, return_attention_scores=False):
        """Gate the channels of `x`, then the positions of the result."""
        x = self.to_channels_last(x)
        channel = self._channel_gate(x)
        x = x * channel
        spatial = self._spatial_gate(x)
        output = self.from_channels_last(x * spatial)
        maps = self.from_channels_last(channel), self.from_channels_last(spatial)
        return self.result(output, maps, return_attention_scores)

    def torch_names(self) -> dict:
        """Name the parameters as DeLightCMU/PSA `PSA_s` does."""
        return {
            **super().torch_names(),
            "conv_up.0": self.reduce,
            "conv_up.1": self.norm,
            "conv_up.3": self.expand,
        }
