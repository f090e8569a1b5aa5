"""Lambda attention (LambdaNetworks)."""

from functools import partial
from typing import ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import merge_heads, split_heads
from attn_core._ops.entries import take
from attn_core._ops.grids import offset_index
from attn_core._ops.lowering import shares_keys
from attn_core._ops.patches import round_up
from attn_core._ops.precision import softmax
from attn_core._ops.tokens import to_image, to_tokens
from attn_core._ops.windows import from_windows, to_windows
from attn_core._typing import ImageArguments, Shape, Tensor
from attn_core._weights.entries import Schemes, stacked
from attn_core.layers._base import ImageLayer, Split
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization
from attn_core.layers.maps._bottleneck import default_key_dim

LARGEST_BLOCK = 7
"""Side of the blocks of queries that share their values; it divides many sizes of images."""


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
        key_dim: Number of channels of the keys, and of a head's queries; `None` = C //
            num_heads, where C is first rounded to a multiple of 8.
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
        query = self.query_norm(self.query(tokens), training=training)  # (B, H * W, heads * K)
        key = ops.transpose(softmax(self.key(tokens), axis=1), (0, 2, 1))  # (B, K, H * W)
        value = self.value_norm(self.value(tokens), training=training)  # (B, H * W, V)

        weighs = shares_keys() and self._weighing_is_shorter()
        apply = self._weigh_values if weighs else self._make_lambdas
        position = apply(*(to_image(one, height, width) for one in (query, value)))
        content = ops.matmul(key, value)  # (B, K, V)
        query = ops.reshape(query, (-1, height * width * self.num_heads, self._key_width))
        output = ops.reshape(ops.matmul(query, content), ops.shape(position)) + position
        output = to_image(merge_heads(output), height, width)
        return self.result(self.from_channels_last(output), None, False)

    @property
    def _side(self) -> int:
        """Side of the blocks of queries that share their values."""
        return min(self.kernel_size or 1, LARGEST_BLOCK)

    def _weighing_is_shorter(self) -> bool:
        """Whether `_weigh_values` needs fewer multiply-adds a position than `_make_lambdas`.

        Measured on one core for 8x14x14x256, forward and training step, in ms: JAX 36 / 87 with
        lambdas and 5.0 / 18 with weights, PyTorch 10.5 / 50 and 10.9 / 30, TensorFlow 7.4 / 41 and
        6.6 / 39; with `kernel_size=None` JAX 11 / 34 and 6.2 / 18. For 2x56x56x64, where weights
        are longer, JAX 23 / 72 and 33 / 70.
        """
        keys, values = self._key_width, self.value.units
        weighing, matrix = self.num_heads * (keys + values), keys * values
        if self.kernel_size is None:
            return weighing <= matrix
        sides = self._side + self.kernel_size - 1
        return weighing * sides**2 <= matrix * (self.kernel_size**2 + self.num_heads)

    def _make_lambdas(self, query: Tensor, value: Tensor) -> Tensor:
        """Apply the lambdas of the positions, one after the other, as in the formula.

        Args:
            query: `(B, H, W, heads * K)`.
            value: `(B, H, W, V)`.

        Returns:
            `(B, H * W, heads, V)`.
        """
        height, width = ops.shape(value)[1:3]
        values, keys, positions = value.shape[-1], self._key_width, height * width
        images = ops.transpose(value, (0, 3, 1, 2))  # each channel goes through the same weights
        if self.kernel_size is None:
            weights = ops.reshape(self._table_weights(value), (positions, positions * keys))
            lambdas = ops.matmul(ops.reshape(images, (-1, values, positions)), weights)
        else:
            lambdas = self.position(ops.reshape(images, (-1, height, width, 1)))
        lambdas = ops.reshape(lambdas, (-1, values, positions, keys))
        lambdas = ops.transpose(lambdas, (0, 2, 3, 1))  # (B, H * W, K, V)
        return ops.matmul(split_heads(to_tokens(query), self.num_heads), lambdas)

    def _weigh_values(self, query: Tensor, value: Tensor) -> Tensor:
        """Compute what `_make_lambdas` does, as an attention without a softmax.

        A query and the vector of an offset make a weight; the values around the query are added
        with these weights. The queries of a block share their values.
        """
        (height, width), heads = ops.shape(value)[1:3], self.num_heads
        if self.kernel_size is None:
            weights = ops.transpose(self._table_weights(value), (1, 2, 0))
            queries, values = (ops.expand_dims(to_tokens(one), 2) for one in (query, value))
        else:
            side = self._side
            weights = self._kernel_weights(side, value)
            rows, columns = round_up((height, width), (side, side))
            fill = partial(_fill, rows=rows - height, columns=columns - width)
            queries = to_windows(fill(query), side)
            values = to_windows(fill(value), side, self.kernel_size // 2)
        pixels, keys, windows = queries.shape[1], values.shape[1], ops.shape(values)[2]

        queries = ops.transpose(queries, (1, 0, 2, 3))  # (pixels, B, windows, heads * K)
        scores = ops.matmul(ops.reshape(queries, (pixels, -1, self._key_width)), weights)
        scores = ops.transpose(ops.reshape(scores, (pixels, -1, heads, keys)), (1, 0, 2, 3))
        scores = ops.reshape(scores, (-1, windows, pixels * heads, keys))
        output = ops.matmul(scores, ops.transpose(values, (0, 2, 1, 3)))
        output = ops.reshape(output, (-1, windows, pixels, heads * values.shape[-1]))
        if self.kernel_size is None:
            return ops.reshape(output, (-1, height * width, heads, values.shape[-1]))
        output = ops.transpose(output, (0, 2, 1, 3))
        output = from_windows(output, side, rows, columns)[:, :height, :width]
        biases = ops.reshape(ops.cast(self.position.bias, value.dtype), (-1, 1))
        biases = ops.matmul(split_heads(to_tokens(query), heads), biases)  # (B, H * W, heads, 1)
        return split_heads(to_tokens(output), heads) + biases

    def _table_weights(self, value: Tensor) -> Tensor:
        """Return the vectors of the offsets m - n within the image, `(m, n, K)`."""
        table = ops.reshape(ops.cast(self.table, value.dtype), (-1, self._key_width))
        return take(table, self._offsets, axis=0)

    def _kernel_weights(self, side: int, value: Tensor) -> Tensor:
        """Return the vectors from the queries of a block to its keys, `(queries, K, keys)`."""
        kernel = ops.cast(self.position.kernel, value.dtype)[:, :, 0]  # (k, k, K)
        more = side - 1

        def slide(x: Tensor, axis: int) -> Tensor:
            """Put offsets where each query of a line has its keys, zeros where it has none."""
            around = [(0, 0)] * len(x.shape)
            lines = []
            for query in range(side):
                around[axis] = (query, more - query)
                lines.append(ops.pad(x, around))
            return ops.stack(lines, axis=0)

        weights = slide(slide(kernel, 1), 1)  # (rows, columns, rows of keys, columns of keys, K)
        keys = (self.kernel_size + more) ** 2
        weights = ops.reshape(weights, (side * side, keys, self._key_width))
        return ops.transpose(weights, (0, 2, 1))

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


def _fill(x: Tensor, rows: int | Tensor, columns: int | Tensor) -> Tensor:
    """Add rows and columns of zeros at the ends of `(B, H, W, C)`."""
    if isinstance(rows, int) and isinstance(columns, int) and rows == columns == 0:
        return x
    return ops.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)))
