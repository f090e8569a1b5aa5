"""Spatial-shift attention (S2-MLPv2)."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.dense import Dense
from attn_core.ops.precision import upcast


@keras.saving.register_keras_serializable(package="attn_core")
class S2Attention(ImageLayer):
    r"""Spatial-shift attention: shifts quarters of the channels, and weighs the shifted versions.

    A linear map makes three versions of the image. Of the first, the quarters of the channels move
    down, up, right and left by one position; of the second right, left, down and up; the third
    stays. Split attention weighs the three, channel by channel:

    $$[x_1, x_2, x_3] = W_1 x \qquad z_1 = S(x_1) \quad z_2 = S'(x_2) \quad z_3 = x_3$$

    $$a = \mathrm{softmax}_3(V_2\,\mathrm{gelu}(V_1 \textstyle\sum_{k,h,w} z_k)) \qquad
    y = W_2 \textstyle\sum_k a_k \cdot z_k$$

    Args:
        reduction: Factor by which the hidden width of split attention is smaller than C; the width
            is `max(1, C // reduction)`.
        use_bias: Whether W1 and W2 have biases.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`, C a multiple of 4; H and W may be dynamic.
        return_attention_scores: Whether to return the weights of the three versions too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the weights,
        `(B, 3, C)`.

    Raises:
        ValueError: If `reduction` is not a positive integer, or the input is not an image of a
            known number of channels, a multiple of 4.

    Example:
        >>> import numpy as np
        >>> S2Attention(reduction=4)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Yu, Li, Cai, Sun, Li, "S2-MLPv2: Improved Spatial-Shift MLP Architecture for Vision", 2021,
        arXiv:2108.01072; numbers by its equations, as no code was released. Parameters are named
        as in its listing.

    Differs from the paper:
        The listing assigns slices in place; here, as the equations mean, the right-hand side is the
        map before the shift, and the border keeps its own value. The PyTorch collection shifts in
        place, which smears the first row and column over the map, and fixes the width of its split
        attention to 512; the TensorFlow one holds a stub.
    """

    def __init__(self, reduction: int = 4, *, use_bias: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.reduction = self.integer("reduction", reduction)
        self.use_bias = self.flag("use_bias", use_bias)

    def build(self, input_shape):
        """Create the two linear maps and split attention's two."""
        _, _, channels = self.check_image(input_shape)
        self.divisible("the number of channels", channels, "the number of directions", 4)
        hidden = max(1, channels // self.reduction)
        # Split attention sees sums over all positions, too large for half precision or int8.
        wide = "float64" if self.variable_dtype == "float64" else "float32"

        def dense(kind, name, inputs, outputs, **options):
            layer = kind(outputs, name=name, **options)
            layer.build((None, inputs))
            return layer

        outer = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        inner = {"use_bias": False, "dtype": wide}
        self.expand = dense(keras.layers.Dense, "expand", channels, channels * 3, **outer)
        self.squeeze = dense(Dense, "squeeze", channels, hidden, activation="gelu", **inner)
        self.excite = dense(Dense, "excite", hidden, channels * 3, **inner)
        self.project = dense(keras.layers.Dense, "project", channels, channels, **outer)

    def call(self, x, return_attention_scores=False):
        """Shift `x` and weigh its versions."""
        x = self.to_channels_last(x)
        first, second, third = ops.split(self.expand(x), 3, axis=-1)  # (B, H, W, C) each
        first, second = shift_quarters(first, (1, 1, 2, 2)), shift_quarters(second, (2, 2, 1, 1))
        total = ops.sum(upcast(first + second + third), axis=(1, 2))  # (B, C)
        scores = ops.reshape(self.excite(self.squeeze(total)), (-1, 3, x.shape[-1]))
        weights = ops.cast(ops.softmax(scores, axis=1), x.dtype)  # (B, 3, C)
        a, b, c = (ops.expand_dims(w, (1, 2)) for w in ops.unstack(weights, 3, axis=1))
        output = self.project(first * a + second * b + third * c)
        return self.result(self.from_channels_last(output), weights, return_attention_scores)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the weights."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return batch, 3, channels

    def torch_names(self) -> dict:
        """Name the parameters as the paper's listing does."""
        return {
            "mlp1": self.expand,
            "split_attention.mlp1": self.squeeze,
            "split_attention.mlp2": self.excite,
            "mlp2": self.project,
        }


def shift_quarters(x, axes):
    """Shift quarter i of the channels along `axes[i]`, forwards and backwards by turns."""
    quarters = zip(ops.split(x, 4, axis=-1), axes, (1, -1, 1, -1), strict=True)
    return ops.concatenate([shift(*quarter) for quarter in quarters], axis=-1)


def shift(x, axis: int, step: int):
    """Shift an image by `step`, 1 or -1, along `axis`, 1 or 2; the border keeps its own value."""
    before = (slice(None),) * axis
    if step == 1:
        parts = x[(*before, slice(None, 1))], x[(*before, slice(None, -1))]
    else:
        parts = x[(*before, slice(1, None))], x[(*before, slice(-1, None))]
    return ops.concatenate(parts, axis=axis)
