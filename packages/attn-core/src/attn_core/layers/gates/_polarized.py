"""Polarized self-attention, parallel and sequential."""

from typing import Any, ClassVar

import keras
from keras import ops

from attn_core._ops.eager import matmul
from attn_core._ops.precision import mean, softmax, upcast
from attn_core._ops.tokens import size, spatial, to_image, to_tokens
from attn_core._typing import Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dense import Dense
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import GroupNormalization


class _PolarizedSelfAttention(ImageLayer):
    """The part that both forms share; they expand the channel gate and compare positions.

    The projections are linear, so averages over the N positions are taken before them: this is N
    times less work.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(), Gate())

    def build(self, input_shape: Shape) -> None:
        """Create the projections of both gates."""
        channels = self.check_channels(input_shape)
        width = max(1, channels // 2)
        self.channel_query: keras.layers.Dense = dense(
            self, channels, 1, "channel_query", use_bias=False
        )
        self.channel_value: keras.layers.Dense = dense(
            self, channels, width, "channel_value", use_bias=False
        )
        self.spatial_query: keras.layers.Dense = dense(
            self, channels, width, "spatial_query", use_bias=False
        )
        self.spatial_value: Dense = child(
            self,
            Dense,
            width,
            shape=(None, channels),
            use_bias=False,
            quantizable=False,
            name="spatial_value",
        )
        self._build_expansion(width, channels)

    def _build_expansion(self, width: int, channels: int) -> None:
        """Create the layers that expand the channel gate from `width` to all channels."""
        raise NotImplementedError

    def _expand(self, x: Tensor) -> Tensor:
        """Expand the channel gate to all channels."""
        raise NotImplementedError

    def _spatial_context(self, x: Tensor, query: Tensor) -> Tensor:
        """Compare the positions of `x`, `(B, N, C)`, with the query; `(B, N, 1)`."""
        raise NotImplementedError

    def _channel_gate(self, x: Tensor) -> Tensor:
        """Compute the gate of the channels from a weighted average of the positions."""
        tokens = to_tokens(x)
        attention = softmax(self.channel_query(tokens), axis=1)  # (B, N, 1)
        average = matmul(ops.transpose(attention, (0, 2, 1)), tokens)  # (B, 1, C)
        gate = ops.sigmoid(self._expand(self.channel_value(average)))
        return to_image(gate, *(1 for _ in spatial(x)))  # (B, 1, ..., C)

    def _spatial_gate(self, x: Tensor) -> Tensor:
        """Compute the gate of the positions."""
        tokens = to_tokens(x)
        query = self.spatial_query(mean(tokens, axis=1, keepdims=True))  # (B, 1, C / 2)
        gate = ops.sigmoid(self._spatial_context(tokens, upcast(query)))  # (B, N, 1)
        return ops.cast(to_image(gate, *size(x)), x.dtype)

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the channel gate and of the spatial gate."""
        return self.channel_gate_shape(input_shape), self.position_gate_shape(input_shape)

    def torch_names(self) -> TorchNames:
        """Name the parameters as DeLightCMU/PSA does."""
        return {
            "conv_q_right": self.channel_query,
            "conv_v_right": self.channel_value,
            "conv_q_left": self.spatial_query,
            "conv_v_left": self.spatial_value,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class ParallelPolarizedSelfAttention(_PolarizedSelfAttention):
    r"""Parallel polarized self-attention: the sum of the image rescaled by channel and by position.

    The channel gate is computed from a weighted average of the positions, whose weights are a
    softmax over the positions. The spatial gate is computed from a softmax, over the positions, of
    the similarity of each position to their mean:

    $$y = x \cdot (g_c + g_s) \qquad
    g_c = \sigma\big(W_z\,W_v\,x^\top \mathrm{softmax}_{hw}(x\,w_q)\big) \qquad
    g_s = \sigma\big(\mathrm{softmax}_{hw}(W'_v x \cdot W'_q\,\mathrm{mean}_{hw}(x))\big)$$

    Args:
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. The inner width is
            `max(1, C // 2)`. Signals, `(B, T, C)`, and volumes, `(B, D, H, W, C)`, are accepted
            too.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the channel gate and
        the spatial gate, `(B, 1, 1, C)` and `(B, H, W, 1)`, or `(B, C, 1, 1)` and `(B, 1, H, W)`.

    Raises:
        ValueError: If the input is not an image, signal or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> ParallelPolarizedSelfAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:2107.00782. The outputs are the same as those of DeLightCMU/PSA `PSA_p`.

    Differs from the paper:
        The numbers are those of the released code. The paper takes the softmax of the spatial gate
        over the channels of the averaged query, and normalises the channel gate (LayerNorm) before
        its sigmoid; so does the External-Attention collection in PyTorch. `PSA_p` takes the softmax
        over the positions, after the product, and has neither norm nor biases.
    """

    def _build_expansion(self, width: int, channels: int) -> None:
        self.expand: keras.layers.Dense = dense(self, width, channels, "expand", use_bias=False)

    def _expand(self, x: Tensor) -> Tensor:
        return self.expand(x)

    def _spatial_context(self, x: Tensor, query: Tensor) -> Tensor:
        """Return the softmax of the similarity of each position's value to the query."""
        kernel = upcast(self.spatial_value.kernel)  # (C, C / 2)
        key = matmul(kernel, ops.transpose(query, (0, 2, 1)))  # (B, C, 1)
        return softmax(matmul(upcast(x), key), axis=1)

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Add `x` gated by channel and `x` gated by position."""
        x = self.to_channels_last(x)
        channel, spatial = self._channel_gate(x), self._spatial_gate(x)
        output = self.from_channels_last(x * (channel + spatial))
        maps = self.from_channels_last(channel), self.from_channels_last(spatial)
        return self.result(output, maps, return_attention_scores)

    def torch_names(self) -> TorchNames:
        """Name the parameters as DeLightCMU/PSA `PSA_p` does."""
        return {**super().torch_names(), "conv_up": self.expand}


@keras.saving.register_keras_serializable(package="attn_core")
class SequentialPolarizedSelfAttention(_PolarizedSelfAttention):
    r"""Sequential polarized self-attention: rescales the channels, then the positions.

    A bottleneck network f computes the channel gate from a weighted average of the positions, whose
    weights are a softmax over the positions. The spatial gate is a weighted sum of several maps,
    each of which is a softmax over the positions. Their weights are the query, which is computed
    from the mean of the positions:

    $$z = x \cdot \sigma\big(f(W_v\,x^\top \mathrm{softmax}_{hw}(x\,w_q))\big) \qquad
    y = z \cdot \sigma\big(\mathrm{softmax}_{hw}(W'_v z) \cdot W'_q\,\mathrm{mean}_{hw}(z)\big)$$

    where f is a linear map, LayerNorm, relu and a second linear map.

    Args:
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. The inner width is
            `max(1, C // 2)`; the bottleneck has a quarter of it, and at least 1. Signals,
            `(B, T, C)`, and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the channel gate and
        the spatial gate, `(B, 1, 1, C)` and `(B, H, W, 1)`, or `(B, C, 1, 1)` and `(B, 1, H, W)`.

    Raises:
        ValueError: If the input is not an image, signal or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> SequentialPolarizedSelfAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:2107.00782. The outputs are the same as those of DeLightCMU/PSA `PSA_s`.

    Differs from the paper:
        The numbers are those of the released code. The paper takes the softmax of the spatial gate
        over the channels of the averaged query, and its f is a linear map and LayerNorm; so does
        the External-Attention collection in PyTorch. `PSA_s` takes the softmax of the values over
        the positions. If C is less than 16, the bottleneck has one channel. LayerNorm of one number
        is constant, so the channel gate does not depend on the image.
    """

    split = {"reduce": "inputs"}

    def _build_expansion(self, width: int, channels: int) -> None:
        bottleneck = max(1, width // 4)
        self.reduce: keras.layers.Dense = dense(self, width, bottleneck, "reduce")
        # For a single position this is LayerNorm, which Keras on PyTorch cannot export to ONNX.
        self.norm: GroupNormalization = child(
            self, GroupNormalization, shape=(None, 1, bottleneck), name="norm"
        )
        self.expand: keras.layers.Dense = dense(self, bottleneck, channels, "expand")

    def _expand(self, x: Tensor) -> Tensor:
        return self.expand(ops.relu(self.norm(self.reduce(x))))

    def _spatial_context(self, x: Tensor, query: Tensor) -> Tensor:
        """Return the sum of maps over the positions, weighted by the query."""
        attention = softmax(upcast(self.spatial_value(x)), axis=1)  # (B, N, C / 2)
        return matmul(attention, ops.transpose(query, (0, 2, 1)))

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Gate the channels of `x`, then the positions of the result."""
        x = self.to_channels_last(x)
        channel = self._channel_gate(x)
        x = x * channel
        spatial = self._spatial_gate(x)
        output = self.from_channels_last(x * spatial)
        maps = self.from_channels_last(channel), self.from_channels_last(spatial)
        return self.result(output, maps, return_attention_scores)

    def torch_names(self) -> TorchNames:
        """Name the parameters as DeLightCMU/PSA `PSA_s` does."""
        return {
            **super().torch_names(),
            "conv_up.0": self.reduce,
            "conv_up.1": self.norm,
            "conv_up.3": self.expand,
        }
