"""Coordinate attention."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.normalization import BatchNormalization
from attn_core.ops.precision import mean


@keras.saving.register_keras_serializable(package="attn_core")
class CoordinateAttention(ImageLayer):
    r"""Coordinate attention: weighs each row and each column by what lies along it.

    The averages of all rows and of all columns pass together through one narrow layer; two further
    layers turn those of the rows into one weight per channel and row, those of the columns into one
    per channel and column:

    $$[f^h; f^w] = \mathrm{hswish}(\mathrm{BN}(W_1 [\mathrm{mean}_w(x);\ \mathrm{mean}_h(x)])),
    \qquad y_{hw} = x_{hw} \cdot \sigma(W_h f^h_h) \cdot \sigma(W_w f^w_w)$$

    The H means of the rows and, behind them, the W means of the columns are H + W vectors of C
    numbers. $W_1$ leads each to `max(min_width, C // reduction)`, $W_h$ and $W_w$ back to C, all
    with biases; BN normalises over all H + W, and hswish(z) = z min(max(z + 3, 0), 6) / 6.

    Args:
        reduction: Factor by which the narrow layer is narrower than C.
        min_width: Smallest width of that layer; the width is `max(min_width, C // reduction)`.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the tuple of the gates
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
        Hou, Zhou, Feng, "Coordinate Attention for Efficient Mobile Network Design", CVPR 2021,
        arXiv:2103.02907; numbers as houqb/CoordAttention `CoordAtt` with as many output channels
        as input channels.

    Differs from the paper:
        The activation, which the paper leaves open, is h-swish, all layers have biases, and the
        width has a lower bound, as in the authors' code.
    """

    def __init__(self, reduction: int = 32, *, min_width: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.reduction = self.integer("reduction", reduction)
        self.min_width = self.integer("min_width", min_width)

    def build(self, input_shape):
        """Create the shared layer, its norm and the two gates' layers."""
        _, _, channels = self.check_image(input_shape)
        width = max(self.min_width, channels // self.reduction)
        dtype = self.dtype_policy
        self.squeeze = keras.layers.Dense(width, name="squeeze", dtype=dtype)
        self.norm = BatchNormalization(name="norm", dtype=dtype)
        self.excite_rows = keras.layers.Dense(
            channels, activation="sigmoid", name="excite_rows", dtype=dtype
        )
        self.excite_columns = keras.layers.Dense(
            channels, activation="sigmoid", name="excite_columns", dtype=dtype
        )
        self.squeeze.build((None, None, channels))
        self.norm.build((None, None, width))
        self.excite_rows.build((None, None, width))
        self.excite_columns.build((None, None, width))

    def call(self, x, training=None, return_attention_scores=False):
        """Weigh the rows and the columns of `x`."""
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

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shapes of the two gates."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        rows = self.own_shape((batch, height, 1, channels))
        return rows, self.own_shape((batch, 1, width, channels))

    def torch_names(self) -> list[dict]:
        """Name the parameters as houqb/CoordAttention does: `coordatt.py`, then `mbv2_ca.py`."""
        shared = {"conv1": self.squeeze, "bn1": self.norm}
        return [
            shared | {"conv_h": self.excite_rows, "conv_w": self.excite_columns},
            shared | {"conv2": self.excite_rows, "conv3": self.excite_columns},
        ]
