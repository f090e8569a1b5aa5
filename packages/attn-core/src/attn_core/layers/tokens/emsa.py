"""Efficient multi-head self-attention."""

from math import isqrt

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.ops.attention import attend, merge_heads, split_heads
from attn_core.ops.precision import upcast


class _Reduction(Conv2D):
    """The convolution of odd or even kernel s + 1 and stride s, padded by s // 2."""

    def convolution_op(self, inputs, kernel):
        """Convolve; a leading row and column of zeros make an even kernel an odd one."""
        stride = self.strides[0]
        if stride % 2 == 0:
            return super().convolution_op(inputs, kernel)
        height, width = (_reduced(length, stride) for length in ops.shape(inputs)[1:3])
        kernel = ops.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
        return super().convolution_op(inputs, kernel)[:, :height, :width]


def _reduced(length, stride):
    """Return what is left of a length: a number, a scalar tensor or None."""
    return None if length is None else (length - 1 - stride % 2) // stride + 1


@keras.saving.register_keras_serializable(package="attn_core")
class EfficientMultiHeadSelfAttention(ImageLayer):
    r"""Efficient multi-head self-attention (ResT): keys and values come from a smaller image.

    A depthwise convolution with stride s shrinks the image before keys and values are taken. A
    1x1 convolution over the heads lets them exchange their scores, and an instance norm makes up
    for the variety of the heads that this costs:

    $$\bar x = \mathrm{LN}(\mathrm{DWConv}_s(x)), \quad
      y = \mathrm{IN}(\mathrm{softmax}(\mathrm{Conv}_{1 \times 1}(
      \tfrac{x W_q (\bar x W_k)^\top}{\sqrt{d}})))\; \bar x W_v\; W_o$$

    Args:
        num_heads: Number of heads; a single head has no transform.
        sr_ratio: Spatial reduction s, the stride; 1 = none. The kernel's size is s + 1.
        apply_transform: Whether the convolution over the heads and the instance norm take part.
        key_dim: Width of queries and keys per head; `None` = C // num_heads.
        value_dim: Width of the values per head; `None` = C // num_heads.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        dropout: Rate of the dropout on the attention map.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`, or its tokens, row by row, `(B, H * W, C)`; the
            sizes may be dynamic.
        spatial_shape: (H, W) of tokens; `None` = a square image.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Tensor of the input's shape; with `return_attention_scores=True` also the map as it weighs
        the values, `(B, num_heads, queries, keys)`: its rows sum to one, or, after the instance
        norm, to zero.

    Raises:
        ValueError: If an argument is out of range, C does not divide by `num_heads` where a width
            depends on it, tokens do not fill an image of H x W, or the image is too small to be
            reduced.

    Example:
        >>> import numpy as np
        >>> layer = EfficientMultiHeadSelfAttention(num_heads=4, sr_ratio=2)
        >>> layer(np.ones((2, 8, 6, 32)), return_attention_scores=True)[1].shape
        (2, 4, 48, 12)
        >>> layer = EfficientMultiHeadSelfAttention(num_heads=4, sr_ratio=2)
        >>> layer(np.ones((2, 48, 32)), spatial_shape=(8, 6)).shape
        (2, 48, 32)

    Reference:
        Zhang, Yang, "ResT: An Efficient Transformer for Visual Recognition", NeurIPS 2021,
        arXiv:2105.13677; numbers as wofmanaf/ResT `models/rest.py` `Attention`.

    Differs from the paper:
        A single head has no transform, as in the authors' code. There `apply_transform` is False by
        default; the published nets set it, and `qkv_bias`. External-Attention-tensorflow's layer
        fails in its constructor; its code has batch statistics in place of the instance norm and a
        padding that shifts the image.
    """

    def __init__(
        self,
        num_heads: int = 8,
        *,
        sr_ratio: int = 1,
        apply_transform: bool = True,
        key_dim: int | None = None,
        value_dim: int | None = None,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = self.integer("num_heads", num_heads)
        self.sr_ratio = self.integer("sr_ratio", sr_ratio)
        self.apply_transform = self.flag("apply_transform", apply_transform)
        self.key_dim = None if key_dim is None else self.integer("key_dim", key_dim)
        self.value_dim = None if value_dim is None else self.integer("value_dim", value_dim)
        self.qkv_bias = self.flag("qkv_bias", qkv_bias)
        self.dropout = self.rate("dropout", dropout)

    def build(self, input_shape):
        """Create the reduction, the linear maps and the transform."""
        rank, heads = len(input_shape), self.num_heads
        if rank == 3:
            channels = self.check_shape(input_shape, 3)
            self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: channels})
        else:
            _, _, channels = self.check_image(input_shape)
        if self.key_dim is None or self.value_dim is None:
            width = self.divisible("the number of channels", channels, "num_heads", heads)
        self.keys_width = heads * (self.key_dim or width)
        self.values_width = heads * (self.value_dim or width)

        def dense(name, inputs, outputs, use_bias):
            layer = keras.layers.Dense(
                outputs, use_bias=use_bias, dtype=self.dtype_policy, name=name
            )
            layer.build((None, inputs))
            return layer

        both = self.keys_width + self.values_width
        self.query = dense("query", channels, self.keys_width, self.qkv_bias)
        self.key_value = dense("key_value", channels, both, self.qkv_bias)
        self.project = dense("project", self.values_width, channels, True)
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="drop")
        self.reduce = None
        if self.sr_ratio > 1:
            self.reduce = _Reduction(
                channels,
                self.sr_ratio + 1,
                strides=self.sr_ratio,
                groups=channels,
                dtype=self.dtype_policy,
                name="reduce",
            )
            self.reduce.build((None, None, None, channels))
            self.reduce_norm = keras.layers.LayerNormalization(
                epsilon=1e-5, dtype=self.dtype_policy, name="reduce_norm"
            )
            self.reduce_norm.build((None, channels))
        self.transform = None
        if self.apply_transform and heads > 1:
            self.transform = self.add_weight((heads, heads), name="transform")
            self.transform_bias = self.add_weight((heads,), "zeros", name="transform_bias")

    def call(self, x, spatial_shape=None, training=None, return_attention_scores=False):
        """Attend from every position to the reduced image."""
        if len(x.shape) == 3:
            tokens = x
            height, width = self._token_shape(x.shape[1], spatial_shape)
        elif spatial_shape is None:
            image = self.to_channels_last(x)
            height, width = ops.shape(image)[1:3]
            tokens = ops.reshape(image, (-1, height * width, image.shape[-1]))  # (B, N, C)
        else:
            raise self.error(
                "`spatial_shape` is for tokens; an image has a shape of its own.",
                f"spatial_shape={spatial_shape!r}, shape {tuple(x.shape)}",
            )
        source = tokens if self.reduce is None else self._reduce(tokens, height, width)
        query = split_heads(self.query(tokens), self.num_heads)  # (B, N, heads, d)
        key, value = ops.split(self.key_value(source), [self.keys_width], axis=-1)
        key, value = (split_heads(part, self.num_heads) for part in (key, value))
        options = {"dropout": self.drop, "training": training}
        if self.transform is None:
            options["return_attention_scores"] = return_attention_scores
            output, attention = attend(query, key, value, **options)
        else:
            output, attention = self._attend_transformed(query, key, value, **options)
        output = self.project(merge_heads(output))  # (B, N, C)
        if len(x.shape) == 4:
            output = ops.reshape(output, (-1, height, width, output.shape[-1]))
            output = self.from_channels_last(output)
        return self.result(output, attention, return_attention_scores)

    def _reduce(self, tokens, height, width):
        if height is None:  # the square root of a number of tokens that is known only now
            height = ops.cast(
                ops.round(ops.sqrt(ops.cast(ops.shape(tokens)[1], "float32"))), "int32"
            )
            width = height
        if any(isinstance(n, int) and _reduced(n, self.sr_ratio) < 1 for n in (height, width)):
            raise self.error(
                f"height and width must be at least 2 at sr_ratio={self.sr_ratio}.",
                f"(height, width) = {(height, width)}",
            )
        image = self.reduce(ops.reshape(tokens, (-1, height, width, tokens.shape[-1])))
        height, width, channels = ops.shape(image)[1:]
        return self.reduce_norm(ops.reshape(image, (-1, height * width, channels)))  # (B, keys, C)

    def _attend_transformed(self, query, key, value, dropout, training):
        query, key, value = (ops.transpose(t, (0, 2, 1, 3)) for t in (query, key, value))
        scale = query.shape[-1] ** -0.5
        scores = ops.matmul(upcast(query) * scale, ops.transpose(upcast(key), (0, 1, 3, 2)))
        queries, keys = ops.shape(scores)[2:]
        scores = ops.reshape(scores, (-1, self.num_heads, queries * keys))
        scores = ops.matmul(upcast(self.transform), scores)  # the 1x1 convolution over the heads
        scores = scores + ops.expand_dims(upcast(self.transform_bias), -1)
        attention = ops.softmax(ops.reshape(scores, (-1, self.num_heads, queries, keys)))
        attention = attention - ops.mean(attention, axis=(2, 3), keepdims=True)
        variance = ops.mean(ops.square(attention), axis=(2, 3), keepdims=True)
        attention = ops.cast(attention * ops.rsqrt(variance + 1e-5), value.dtype)
        output = ops.matmul(dropout(attention, training=training), value)
        return ops.transpose(output, (0, 2, 1, 3)), attention

    def _token_shape(self, tokens, spatial_shape):
        """Return the checked (height, width) of a number of tokens, None where unknown."""
        if tokens is None and spatial_shape is None:
            return None, None
        if spatial_shape is None:
            spatial_shape = (isqrt(tokens), isqrt(tokens))
        height, width = self.sequence("spatial_shape", spatial_shape, self.integer, length=2)
        if tokens is not None and height * width != tokens:
            raise self.error(
                f"the tokens must fill an image of {height} x {width}; `spatial_shape` = "
                "(height, width) is needed unless it is square.",
                f"{tokens} tokens",
            )
        return height, width

    def compute_attention_shape(self, input_shape, spatial_shape=None) -> tuple:
        """Return the shape of the attention map."""
        if len(input_shape) == 4:
            batch, height, width, _ = self.channels_last_shape(input_shape)
            tokens = height * width if height and width else None
        else:
            batch, tokens, _ = input_shape
            side = isqrt(tokens) if tokens and isqrt(tokens) ** 2 == tokens else None
            height, width = (side, side) if spatial_shape is None else spatial_shape
        keys = tokens
        if self.sr_ratio > 1:
            height, width = _reduced(height, self.sr_ratio), _reduced(width, self.sr_ratio)
            keys = height * width if height and width else None
        return batch, self.num_heads, tokens, keys

    def torch_names(self) -> dict:
        """Name the parameters as wofmanaf/ResT does."""
        names = {"q": self.query, "kv": self.key_value, "proj": self.project}
        if self.reduce is not None:
            names |= {"sr": self.reduce, "sr_norm": self.reduce_norm}
        if self.transform is not None:
            names["transform_conv.weight"] = self.transform
            names["transform_conv.bias"] = self.transform_bias
        return names
