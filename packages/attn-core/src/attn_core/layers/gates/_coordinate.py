"""Coordinate attention."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean
from attn_core._typing import ImageArguments, Shape, Tensor
from attn_core._weights.entries import Schemes
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class CoordinateAttention(ImageLayer):
    r"""Coordinate attention: rescales each row and each column by weights from its average.

    The averages of all rows and of all columns pass through one narrow layer. Then one layer
    computes a weight per channel and row, and another layer a weight per channel and column:

    $$[f^h; f^w] = \mathrm{hswish}(\mathrm{BN}(W_1 [\mathrm{mean}_w(x);\ \mathrm{mean}_h(x)])),
    \qquad y_{hw} = x_{hw} \cdot \sigma(W_h f^h_h) \cdot \sigma(W_w f^w_w)$$

    The means of the H rows, followed by those of the W columns, are H + W vectors of C numbers.
    $W_1$ maps each to `max(min_width, C // reduction)` numbers, $W_h$ and $W_w$ map back to C; all
    three have biases unless `use_bias=False`. BN normalises over all H + W, and hswish(z) =
    z min(max(z + 3, 0), 6) / 6.

    Args:
        reduction: Factor by which the narrow layer is narrower than C.
        min_width: Smallest width of that layer; the width is `max(min_width, C // reduction)`.
        use_bias: Whether the three layers have biases.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of the gates
        of the rows, `(B, H, 1, C)` or `(B, C, H, 1)`, and of the columns, `(B, 1, W, C)` or
        `(B, C, 1, W)`.

    Raises:
        ValueError: If an argument is not a positive integer, or the input is not an image of a
            known number of channels.

    Example:
        >>> import numpy as np
        >>> layer = CoordinateAttention(data_format="channels_last")
        >>> y, (rows, columns) = layer(np.ones((2, 7, 9, 32)), return_attention_scores=True)
        >>> tuple(y.shape), tuple(rows.shape), tuple(columns.shape)
        ((2, 7, 9, 32), (2, 7, 1, 32), (2, 1, 9, 32))

    Reference:
        arXiv:2103.02907. The outputs are the same as those of houqb/CoordAttention `CoordAtt` with
        as many output channels as input channels, and of timm's `CoordAttn`, whose own setting is
        `use_bias=False`, with a width of C / 24, rounded to a multiple of 8.

    Differs from the paper:
        The paper does not specify the activation; as in the authors' code, it is h-swish. As there,
        all dense layers have biases, and the width has a lower bound.
    """

    maps: ClassVar[tuple[Map, ...]] = (Gate(), Gate())

    def __init__(
        self,
        reduction: int = 32,
        *,
        min_width: int = 8,
        use_bias: bool = True,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.min_width: int = checks.integer(self, "min_width", min_width)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)

    def build(self, input_shape: Shape) -> None:
        """Create the shared layer, its norm and the layers of the two gates."""
        _, _, channels = self.check_image(input_shape)
        width, bias = max(self.min_width, channels // self.reduction), {"use_bias": self.use_bias}
        self.squeeze: keras.layers.Dense = dense(self, channels, width, "squeeze", **bias)
        self.norm: BatchNormalization = child(
            self, BatchNormalization, shape=(None, None, width), name="norm"
        )
        self.excite_rows: keras.layers.Dense = dense(
            self, width, channels, "excite_rows", activation="sigmoid", **bias
        )
        self.excite_columns: keras.layers.Dense = dense(
            self, width, channels, "excite_columns", activation="sigmoid", **bias
        )

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Rescale the rows and the columns of `x`."""
        x = self.to_channels_last(x)
        height = ops.shape(x)[1]
        lines = ops.concatenate([mean(x, axis=2), mean(x, axis=1)], axis=1)
        lines = self.norm(self.squeeze(lines), training=training)  # (B, H + W, width)
        lines = ops.hard_silu(lines)
        rows = ops.expand_dims(self.excite_rows(lines[:, :height]), 2)  # (B, H, 1, C)
        columns = ops.expand_dims(self.excite_columns(lines[:, height:]), 1)  # (B, 1, W, C)
        gates = self.from_channels_last(rows), self.from_channels_last(columns)
        return self.result(
            self.from_channels_last(x * rows * columns), gates, return_attention_scores
        )

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the two gates."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        rows = self.from_channels_last_shape((batch, height, 1, channels))
        return rows, self.from_channels_last_shape((batch, 1, width, channels))

    def torch_names(self) -> Schemes:
        """Name the parameters as houqb/CoordAttention does in `coordatt.py` and in `mbv2_ca.py`."""
        shared = {"conv1": self.squeeze, "bn1": self.norm}
        return Schemes(
            {
                "authors": shared | {"conv_h": self.excite_rows, "conv_w": self.excite_columns},
                "authors' networks": shared
                | {"conv2": self.excite_rows, "conv3": self.excite_columns},
            }
        )
