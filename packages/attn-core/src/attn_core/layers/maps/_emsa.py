"""Efficient multi-head self-attention."""

from math import isqrt
from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._ops.entries import split_at
from attn_core._ops.precision import softmax, upcast
from attn_core._ops.tokens import to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, positions
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention
from attn_core.layers._normalization import LayerNormalization


class _Reduction(Conv2D):
    """The convolution with a kernel of s + 1, odd or even, and stride s, padded by s // 2."""

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolve; a leading row and column of zeros make an odd kernel of an even one."""
        stride = self.strides[0]
        if stride % 2 == 0:
            return super().convolution_op(inputs, kernel)
        height, width = (_reduced(length, stride) for length in ops.shape(inputs)[1:3])
        kernel = ops.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
        return super().convolution_op(inputs, kernel)[:, :height, :width]


def _reduced(length: Any, stride: int) -> Any:
    """Return the length of the reduced image: a number, a scalar tensor or None, as given."""
    return None if length is None else (length - 1 - stride % 2) // stride + 1


@keras.saving.register_keras_serializable(package="attn_core")
class EfficientMultiHeadSelfAttention(ImageLayer):
    r"""Efficient multi-head self-attention (ResT): computes keys and values from a smaller image.

    A depthwise convolution with stride s reduces the image from which keys and values are computed.
    A 1x1 convolution over the heads mixes their scores. This makes the heads more similar to each
    other; an instance norm then restores their diversity:

    $$\bar x = \mathrm{LN}(\mathrm{DWConv}_s(x)), \quad
      y = \mathrm{IN}(\mathrm{softmax}(\mathrm{Conv}_{1 \times 1}(
      \tfrac{x W_q (\bar x W_k)^\top}{\sqrt{d}})))\; \bar x W_v\; W_o$$

    Args:
        num_heads: Number of heads; with a single head the transform is left out.
        sr_ratio: Spatial reduction s, the stride; 1 = none. The kernel's size is s + 1.
        apply_transform: Whether to use the convolution over the heads and the instance norm.
        key_dim: Width of queries and keys per head; `None` = C // num_heads.
        value_dim: Width of the values per head; `None` = C // num_heads.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        dropout: Rate of the dropout on the attention map.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`, or its tokens, row by row, `(B, H * W, C)`; H
            and W may be dynamic.
        spatial_shape: (H, W) of the image whose positions are the tokens; `None` = a square image.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Tensor of the input's shape; with `return_attention_scores=True` also the map that weights
        the values, `(B, num_heads, queries, keys)`: its rows sum to one, or, after the instance
        norm, to zero.

    Raises:
        ValueError: If an argument is out of range, C is not a multiple of `num_heads` where a width
            depends on it, the number of tokens is not H * W, or the image is too small to be
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
        arXiv:2105.13677. The outputs are the same as those of wofmanaf/ResT `models/rest.py`
        `Attention`.

    Differs from the paper:
        A single head has no transform, as in the authors' code. There `apply_transform` is False by
        default; the published networks set it and `qkv_bias` to True.
        External-Attention-tensorflow's layer raises an error in its constructor; its code uses
        batch statistics instead of the instance norm, and a padding that shifts the image.
    """

    maps = (Attention(),)
    split = {"query": "heads", "key_value": "heads", "project": "head inputs", "reduce": "inputs"}

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
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.sr_ratio: int = checks.integer(self, "sr_ratio", sr_ratio)
        self.apply_transform: bool = checks.flag(self, "apply_transform", apply_transform)
        self.key_dim: int | None = checks.optional(checks.integer, self, "key_dim", key_dim)
        self.value_dim: int | None = checks.optional(checks.integer, self, "value_dim", value_dim)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the reduction, the linear maps and the transform."""
        heads = self.num_heads
        if len(input_shape) == 3:
            channels = self._check_shape(input_shape)
            self._expect(ndim=3, axes={-1: channels})
        else:
            _, _, channels = self.check_image(input_shape)
        if self.key_dim is None or self.value_dim is None:
            width = checks.divisible(self, "the number of channels", channels, "num_heads", heads)
        self._keys_width = heads * (self.key_dim or width)
        values = heads * (self.value_dim or width)
        bias = {"use_bias": self.qkv_bias}
        self.query: keras.layers.Dense = dense(self, channels, self._keys_width, "query", **bias)
        self.key_value: keras.layers.Dense = dense(
            self, channels, self._keys_width + values, "key_value", **bias
        )
        self.project: keras.layers.Dense = dense(self, values, channels, "project")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")
        self.reduce: keras.layers.Layer | None = None
        if self.sr_ratio > 1:
            self.reduce = child(
                self,
                _Reduction,
                channels,
                self.sr_ratio + 1,
                shape=(None, None, None, channels),
                strides=self.sr_ratio,
                groups=channels,
                name="reduce",
            )
            self.reduce_norm: LayerNormalization = child(
                self,
                LayerNormalization,
                shape=(None, channels),
                epsilon=1e-5,
                name="reduce_norm",
            )
        self.transform: keras.Variable | None = None
        if self.apply_transform and heads > 1:
            self.transform = self.add_weight((heads, heads), name="transform")
            self.transform_bias: keras.Variable = self.add_weight(
                (heads,), "zeros", name="transform_bias"
            )

    def call(
        self,
        x: Tensor,
        spatial_shape: tuple[int, int] | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Any]:
        """Attend from every position to the reduced image."""
        if len(x.shape) == 3:
            tokens = x
            height, width = self._token_shape(x.shape[1], spatial_shape)
        elif spatial_shape is None:
            image = self.to_channels_last(x)
            height, width = ops.shape(image)[1:3]
            tokens = to_tokens(image)  # (B, N, C)
        else:
            raise checks.error(
                self,
                "`spatial_shape` is for tokens; an image has its own height and width.",
                f"spatial_shape={spatial_shape!r}, shape {tuple(x.shape)}",
            )
        source = tokens if self.reduce is None else self._reduce(tokens, height, width)
        query = split_heads(self.query(tokens), self.num_heads)  # (B, N, heads, d)
        key, value = split_at(self.key_value(source), self._keys_width)
        key, value = (split_heads(part, self.num_heads) for part in (key, value))
        options = {"dropout": self.drop, "training": training}
        if self.transform is None:
            options["return_attention_scores"] = return_attention_scores
            output, attention = attend(query, key, value, **options)
        else:
            output, attention = self._attend_transformed(query, key, value, **options)
        output = self.project(merge_heads(output))  # (B, N, C)
        if len(x.shape) == 4:
            output = self.from_channels_last(to_image(output, height, width))
        return self.result(output, attention, return_attention_scores)

    def _reduce(self, tokens: Tensor, height: Any, width: Any) -> Tensor:
        """Return the tokens of the reduced image."""
        if height is None:  # a square image, of a size that is known only now
            height = ops.cast(
                ops.round(ops.sqrt(ops.cast(ops.shape(tokens)[1], "float32"))), "int32"
            )
            width = height
        if any(isinstance(n, int) and _reduced(n, self.sr_ratio) < 1 for n in (height, width)):
            raise checks.error(
                self,
                f"height and width must be at least 2 at sr_ratio={self.sr_ratio}.",
                f"(height, width) = {(height, width)}",
            )
        image = self.reduce(to_image(tokens, height, width))
        return self.reduce_norm(to_tokens(image))  # (B, keys, C)

    def _attend_transformed(
        self, query: Tensor, key: Tensor, value: Tensor, dropout: Any, training: bool | None
    ) -> tuple[Tensor, Tensor]:
        """Attend as `attend` does, with the convolution over the heads and the instance norm."""
        query, key, value = (ops.transpose(t, (0, 2, 1, 3)) for t in (query, key, value))
        scale = query.shape[-1] ** -0.5
        scores = ops.matmul(upcast(query) * scale, ops.transpose(upcast(key), (0, 1, 3, 2)))
        queries, keys = ops.shape(scores)[2:]
        scores = ops.reshape(scores, (-1, self.num_heads, queries * keys))
        scores = ops.matmul(upcast(self.transform), scores)  # the 1x1 convolution over the heads
        scores = scores + ops.expand_dims(upcast(self.transform_bias), -1)
        attention = softmax(ops.reshape(scores, (-1, self.num_heads, queries, keys)))
        attention = attention - ops.mean(attention, axis=(2, 3), keepdims=True)
        variance = ops.mean(ops.square(attention), axis=(2, 3), keepdims=True)
        attention = ops.cast(attention * ops.rsqrt(variance + 1e-5), value.dtype)
        output = ops.matmul(dropout(attention, training=training), value)
        return ops.transpose(output, (0, 2, 1, 3)), attention

    def _token_shape(
        self, tokens: int | None, spatial_shape: tuple[int, int] | None
    ) -> tuple[int | None, int | None]:
        """Return the checked (height, width) of a number of tokens, None where unknown."""
        if tokens is None and spatial_shape is None:
            return None, None
        if spatial_shape is None:
            spatial_shape = (isqrt(tokens), isqrt(tokens))
        height, width = checks.sequence(
            self, "spatial_shape", spatial_shape, checks.integer, length=2
        )
        if tokens is not None and height * width != tokens:
            raise checks.error(
                self,
                f"the tokens must be those of an image of {height} x {width}; `spatial_shape` = "
                "(height, width) is needed unless the image is square.",
                f"{tokens} tokens",
            )
        return height, width

    def compute_attention_shape(
        self, input_shape: Shape, spatial_shape: tuple[int, int] | None = None
    ) -> Shape:
        """Return the shape of the attention map."""
        if len(input_shape) == 4:
            batch, height, width, _ = self.channels_last_shape(input_shape)
            tokens = positions(height, width)
        else:
            batch, tokens, _ = input_shape
            side = isqrt(tokens) if tokens and isqrt(tokens) ** 2 == tokens else None
            height, width = (side, side) if spatial_shape is None else spatial_shape
        keys = tokens
        if self.sr_ratio > 1:
            keys = positions(_reduced(height, self.sr_ratio), _reduced(width, self.sr_ratio))
        return batch, self.num_heads, tokens, keys

    def torch_names(self) -> TorchNames:
        """Name the parameters as wofmanaf/ResT does."""
        names = {"q": self.query, "kv": self.key_value, "proj": self.project}
        if self.reduce is not None:
            names |= {"sr": self.reduce, "sr_norm": self.reduce_norm}
        if self.transform is not None:
            names["transform_conv.weight"] = self.transform
            names["transform_conv.bias"] = self.transform_bias
        return names
