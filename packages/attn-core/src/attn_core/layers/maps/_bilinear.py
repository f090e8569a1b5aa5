"""Bilinear attention."""

from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.maxima import maximum
from attn_core._ops.precision import softmax, upcast
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Entry
from attn_core.layers._base import ImageLayer, Split
from attn_core.layers._children import child, dense
from attn_core.layers._maps import Attention, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class BilinearAttention(ImageLayer):
    r"""Bilinear attention: mixes rows, then columns, of blocks of the image by two small matrices.

    The image is a grid of `block_size` x `block_size` blocks. For each group of channels, a matrix
    P computes each row of blocks as a weighted sum of all rows of blocks, and a matrix Q does the
    same for the columns of blocks. In these sums, a position is combined with the positions at the
    same place in other blocks. Both matrices are computed from the image:

    $$y = x + \mathrm{cbr}_4(\mathrm{cbr}_3((P \otimes I)\,l\,(Q \otimes I))), \quad
    l = \mathrm{cbr}_1(x)$$
    $$P_{ab} \propto \sigma(W_P\,\mathrm{maxrow}(m) + b_P)_{ab}, \quad
    Q_{ab} \propto \sigma(W_Q\,\mathrm{maxcol}(m) + b_Q)_{ab}, \quad
    m = \mathrm{cbr}_2(l)$$

    cbr is a 1x1 convolution, batch normalization and a relu. maxrow is the maximum of m over each
    row of blocks, maxcol the maximum over each column of blocks. Each row of P and each column of Q
    is divided by its sum.

    Args:
        reduction: Factor by which l is narrower than C; its width is `max(1, C // reduction)`.
        block_size: Number of blocks along the height, and along the width, of the image.
        groups: Number of groups of channels, each with its own matrices; it must divide the width
            of l.
        use_bias: Whether the four 1x1 convolutions have a bias; $W_P$ and $W_Q$ always have.
        dropout: Rate at which whole channels are set to zero before x is added.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic, and must be multiples of
            `block_size`.
        training: Whether batch normalization uses the statistics of the batch, and dropout acts.
        return_attention_scores: Whether to return the two matrices too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of P and Q,
        each `(B, groups, block_size, block_size)` in both data formats.

    Raises:
        ValueError: If an argument is not as described, H or W is not a multiple of `block_size`, or
            the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> BilinearAttention()(np.ones((2, 14, 7, 32))).shape
        (2, 14, 7, 32)

    Reference:
        CVPR 2020. The outputs are the same as those of BA-Transform/BAT-Image-Classification
        `BATBlock`, whose r, s and k are `reduction`, `block_size` and `groups`. With
        `use_bias=False` the outputs and the names of the weights are those of timm's
        `BatNonLocalAttn`, which uses `reduction=4`, rounded to a multiple of 8, and `groups=2`.

    Differs from the paper:
        There is no difference. The released code enlarges Q by H / `block_size`, which fails if H
        and W differ; here it is enlarged by W / `block_size`, as in timm. The authors and timm
        train with `dropout=0.2`.
    """

    one_column = False
    maps: ClassVar[tuple[Map, ...]] = (
        Attention("group", "row of blocks", "row of blocks"),
        Attention("group", "column of blocks", "column of blocks"),
    )
    split: ClassVar[dict[str, Split]] = {
        "group": "inputs",
        "rows": "whole",
        "columns": "whole",
        "mix": "inputs",
    }

    def __init__(
        self,
        reduction: int = 2,
        *,
        block_size: int = 7,
        groups: int = 4,
        use_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.block_size: int = checks.integer(self, "block_size", block_size)
        self.groups: int = checks.integer(self, "groups", groups)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions with their norms, and the layers that compute P and Q."""
        height, width, channels = self.check_image(input_shape)
        self.check_multiples(height, width, "block_size")
        inner = max(1, channels // self.reduction)
        checks.divisible(self, "C // reduction", inner, "groups", self.groups)
        lines = self.groups * self.block_size
        self.reduce, self.reduce_norm = self._convolution("reduce", channels, inner)
        self.group, self.group_norm = self._convolution("group", inner, self.groups)
        self.rows: keras.layers.Dense = dense(self, lines, lines * self.block_size, "rows")
        self.columns: keras.layers.Dense = dense(self, lines, lines * self.block_size, "columns")
        self.mix, self.mix_norm = self._convolution("mix", inner, inner)
        self.expand, self.expand_norm = self._convolution("expand", inner, channels)
        self.drop: keras.layers.SpatialDropout2D = child(
            self,
            keras.layers.SpatialDropout2D,
            self.dropout,
            shape=(None, None, None, channels),
            data_format="channels_last",
            name="drop",
        )

    def _convolution(
        self, name: str, inputs: int, outputs: int
    ) -> tuple[keras.layers.Dense, BatchNormalization]:
        shape = (None, None, None, outputs)
        convolution = dense(self, inputs, outputs, name, use_bias=self.use_bias)
        return convolution, child(self, BatchNormalization, shape=shape, name=f"{name}_norm")

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Mix the blocks of `x`."""
        x = self.to_channels_last(x)
        self.check_multiples(*x.shape[1:3], "block_size")
        reduced = ops.relu(self.reduce_norm(self.reduce(x), training=training))
        grouped = ops.relu(self.group_norm(self.group(reduced), training=training))
        rows, columns = self._matrices(grouped)
        output = self._transform(reduced, rows, columns)
        output = ops.relu(self.mix_norm(self.mix(output), training=training))
        output = ops.relu(self.expand_norm(self.expand(output), training=training))
        output = self.from_channels_last(x + self.drop(output, training=training))
        return self.result(output, (rows, columns), return_attention_scores)

    def _matrices(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return P and Q, `(B, groups, s, s)` each, from one channel for each group."""
        size, (height, width) = self.block_size, ops.shape(x)[1:3]
        # All positions of a line of blocks on axis 2.
        by_rows = ops.reshape(x, (-1, size, height // size * width, self.groups))
        by_columns = ops.reshape(x, (-1, height, size, width // size, self.groups))
        by_columns = ops.transpose(by_columns, (0, 2, 1, 3, 4))
        by_columns = ops.reshape(by_columns, (-1, size, height * (width // size), self.groups))
        rows = self._scores(self.rows, maximum(by_rows, axis=2))
        columns = self._scores(self.columns, maximum(by_columns, axis=2))
        rows, columns = softmax(rows, axis=-1), softmax(columns, axis=-2)
        return ops.cast(rows, x.dtype), ops.cast(columns, x.dtype)

    def _scores(self, layer: keras.layers.Dense, lines: Tensor) -> Tensor:
        """Return log(sigmoid) of what a layer gives for the lines of blocks, `(B, s, groups)`.

        Its softmax is the sigmoid divided by the sum of sigmoids, also where all of them underflow.
        """
        scores = upcast(layer(ops.reshape(lines, (-1, self.block_size * self.groups))))
        shape = (-1, self.groups, self.block_size, self.block_size)
        return ops.log_sigmoid(ops.reshape(scores, shape))

    def _transform(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Multiply each channel by P from the left and Q from the right."""
        size, (height, width) = self.block_size, ops.shape(x)[1:3]
        channels, part = x.shape[-1], x.shape[-1] // self.groups
        x = ops.reshape(x, (-1, height, width, self.groups, part))
        x = ops.transpose(x, (0, 3, 1, 2, 4))  # (B, groups, H, W, part)
        x = ops.reshape(x, (-1, self.groups, size, height // size * width * part))
        x = ops.matmul(rows, x)
        x = ops.reshape(x, (-1, self.groups, height, size, width // size * part))
        columns = ops.expand_dims(ops.transpose(columns, (0, 1, 3, 2)), 2)  # (B, groups, 1, s, s)
        x = ops.matmul(columns, x)
        x = ops.reshape(x, (-1, self.groups, height, width, part))
        return ops.reshape(ops.transpose(x, (0, 2, 3, 1, 4)), (-1, height, width, channels))

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of P and Q."""
        shape = (input_shape[0], self.groups, self.block_size, self.block_size)
        return shape, shape

    def torch_names(self) -> TorchNames:
        """Name the parameters as BA-Transform/BAT-Image-Classification does, or as timm does."""
        inner, conv, norm = ("batransform", "0", "1") if self.use_bias else ("ba", "conv", "bn")
        parts = {
            "conv1": (self.reduce, self.reduce_norm),
            f"{inner}.conv1": (self.group, self.group_norm),
            f"{inner}.conv2": (self.mix, self.mix_norm),
            "conv2": (self.expand, self.expand_norm),
        }
        names: TorchNames = {}
        for name, (convolution, normalization) in parts.items():
            names |= {f"{name}.{conv}": convolution, f"{name}.{norm}": normalization}
        for name, layer in (("conv_p", self.rows), ("conv_q", self.columns)):
            names[f"{inner}.{name}.weight"] = self._over_a_line(layer.kernel)
            names[f"{inner}.{name}.bias"] = layer.bias
        return names

    def _over_a_line(self, kernel: keras.Variable) -> Entry:
        """Return the entry of a convolution as long as a line of blocks, which is a dense layer."""
        outputs = kernel.shape[1]

        def convert(array: np.ndarray) -> tuple[np.ndarray, ...]:
            return (array.transpose(2, 1, 0).reshape(-1, outputs),)

        return Entry((outputs, self.groups, self.block_size), (kernel,), convert)
