"""Lambda attention (LambdaNetworks)."""

from typing import ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import split_heads
from attn_core._ops.entries import take
from attn_core._ops.grids import offset_index
from attn_core._ops.precision import softmax
from attn_core._ops.tokens import to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor
from attn_core._weights.entries import Schemes, stacked
from attn_core.layers._base import ImageLayer, Split
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization
from attn_core.layers.maps._bottleneck import default_key_dim


@keras.saving.register_keras_serializable(package="attn_core")
class LambdaAttention(ImageLayer):
    r"""Lambda attention: multiplies each query by a small matrix computed from its context.

    The matrix, called lambda, is the sum of two parts. The first is computed from the content of
    the whole image and is the same for all positions. The second is computed from the values around
    a position, weighted by their offset:

    $$y_n = \Big(\sum_m \bar k_m v_m^\top + \sum_m e_{m-n} v_m^\top\Big)^\top q_n, \quad
        \bar k = \mathrm{softmax}_m(k_m)$$

    for each head. Each head has its own queries, and all heads share keys and values: queries and
    keys have `key_dim` channels, values C / num_heads. Batch normalization is applied to queries
    and values. The vectors e are the kernel of a convolution with biases that is applied to each
    channel of the values, or, with `kernel_size=None`, one vector for each offset within the image.
    There is no map of all pairs of positions.

    Args:
        num_heads: Number of heads; divides C.
        key_dim: Number of channels of the keys, and of a head's queries; `None` = C, rounded to a
            multiple of 8, // num_heads.
        kernel_size: Odd size of the region around a position; `None` = the whole image.
        qkv_bias: Whether queries, keys and values have biases.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic, and are fixed once the
            layer is built with `kernel_size=None`.
        training: Whether batch normalization uses the statistics of the batch.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If an argument is out of its range, `num_heads` does not divide C, or the input
            is not an image of a known number of channels (with `kernel_size=None`, of a known
            height and width too).

    Example:
        >>> import numpy as np
        >>> LambdaAttention(num_heads=4)(np.ones((2, 14, 14, 32))).shape
        (2, 14, 14, 32)

    Reference:
        arXiv:2102.08602. The outputs are the same as those of huggingface/pytorch-image-models
        `LambdaLayer`, stride 1.

    Differs from the paper:
        The keys and values have one set of heads ("intra-depth" 1). The convolution has a bias,
        which is added to all the matrices. The authors released no code.
    """

    split: ClassVar[dict[str, Split]] = {
        "query": "heads",
        "key": "whole",
        "value": "whole",
        "position": "whole",
    }

    def __init__(
        self,
        num_heads: int = 4,
        *,
        key_dim: int | None = 16,
        kernel_size: int | None = 9,
        qkv_bias: bool = False,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.key_dim: int | None = checks.optional(checks.integer, self, "key_dim", key_dim)
        self.kernel_size: int | None = checks.optional(checks.odd, self, "kernel_size", kernel_size)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps, the norms, and the weights of the offsets."""
        whole = self.kernel_size is None
        height, width, channels = self.check_image(input_shape, fixed_size=whole)
        values = checks.divisible(
            self, "the number of channels", channels, "num_heads", self.num_heads
        )
        keys = self._key_width = self.key_dim or default_key_dim(self, channels)
        queries, bias = self.num_heads * keys, {"use_bias": self.qkv_bias}
        self.query: keras.layers.Dense = dense(self, channels, queries, "query", **bias)
        self.key: keras.layers.Dense = dense(self, channels, keys, "key", **bias)
        self.value: keras.layers.Dense = dense(self, channels, values, "value", **bias)
        self.query_norm: BatchNormalization = child(
            self, BatchNormalization, shape=(None, None, queries), name="query_norm"
        )
        self.value_norm: BatchNormalization = child(
            self, BatchNormalization, shape=(None, None, values), name="value_norm"
        )
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        if whole:
            self._offsets = offset_index(height, width)
            self.table: keras.Variable = self.add_weight(
                shape=(2 * height - 1, 2 * width - 1, keys), initializer=initializer, name="table"
            )
        else:
            self.position: Conv2D = child(
                self,
                Conv2D,
                keys,
                self.kernel_size,
                shape=(None, None, None, 1),
                kernel_initializer=initializer,
                name="position",
            )

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply to each position of `x` the matrix of its context."""
        x = self.to_channels_last(x)
        height, width = ops.shape(x)[1:3]
        tokens = to_tokens(x)
        query = self.query_norm(self.query(tokens), training=training)
        query = split_heads(query, self.num_heads)  # (B, H * W, heads, K)
        key = ops.transpose(softmax(self.key(tokens), axis=1), (0, 2, 1))  # (B, K, H * W)
        value = self.value_norm(self.value(tokens), training=training)  # (B, H * W, V)

        content = ops.expand_dims(ops.matmul(key, value), 1)  # (B, 1, K, V)
        position = self._position_lambdas(ops.transpose(value, (0, 2, 1)), height, width)
        position = ops.transpose(position, (0, 2, 3, 1))  # (B, H * W, K, V)
        output = ops.matmul(query, content) + ops.matmul(query, position)
        output = ops.reshape(output, (-1, height * width, x.shape[-1]))
        return self.result(self.from_channels_last(to_image(output, height, width)), None, False)

    def _position_lambdas(self, value: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
        """Weight the values `(B, V, H * W)` by their offsets from each position.

        Returns:
            `(B, V, H * W, K)`, with the channels of the values before the positions: each of them
            goes through the same weights.
        """
        values, positions = value.shape[1], height * width
        if self.kernel_size is None:
            table = ops.reshape(ops.cast(self.table, value.dtype), (-1, self._key_width))
            table = take(table, self._offsets, axis=0)  # of m - n, (m, n, K)
            table = ops.reshape(table, (positions, positions * self._key_width))
            return ops.reshape(ops.matmul(value, table), (-1, values, positions, self._key_width))
        image = self.position(ops.reshape(value, (-1, height, width, 1)))  # (B * V, H, W, K)
        return ops.reshape(image, (-1, values, positions, self._key_width))

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does."""
        joint = (self.query, self.key, self.value)
        names = {
            "qkv.weight": stacked(*(layer.kernel for layer in joint)),
            "norm_q": self.query_norm,
            "norm_v": self.value_norm,
        }
        if self.qkv_bias:
            names["qkv.bias"] = stacked(*(layer.bias for layer in joint))
        if self.kernel_size is None:
            return Schemes(timm=names | {"pos_emb": self.table})
        return Schemes(timm=names | {"conv_lambda": self.position})
