"""Outlook attention."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.precision import softmax
from attn_core.ops.windows import fold, mean_pool, neighbours


@keras.saving.register_keras_serializable(package="attn_core")
class OutlookAttention(ImageLayer):
    r"""Outlook attention: every position predicts how its neighbourhood is to be mixed.

    A dense layer turns the channels of a position straight into the attention map of the k x k
    window around it, without queries and keys; where the mixed windows overlap they are added:

    $$Y_{p} = W_o \sum_{i} \Big( \mathrm{softmax}_j\big(A_{p-i} / \sqrt{d}\big)\, V_{p-i+j}
        \Big)_{i}, \quad A = W_a\,\mathrm{pool}(x) + b_a, \quad V = W_v\,x$$

    where i and j run over the k * k offsets of a window, and d = C / num_heads.

    Args:
        num_heads: Number of heads; divides C.
        kernel_size: Odd size k of the windows.
        strides: Distance of the windows. The maps are predicted from averages over
            strides x strides pixels; the output keeps H and W.
        qkv_bias: Whether the values have a bias.
        dropout: Dropout rate of the attention map.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the map,
        `(B, num_heads, windows, k * k, k * k)` in both data formats, with
        windows = ceil(H / strides) * ceil(W / strides).

    Raises:
        ValueError: If an argument is out of range, `num_heads` does not divide C, or the input is
            not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> OutlookAttention(num_heads=4, strides=2)(np.ones((2, 14, 14, 32))).shape
        (2, 14, 14, 32)

    Reference:
        Yuan, Hou, Jiang, Feng, Yan, "VOLO: Vision Outlooker for Visual Recognition", 2021,
        arXiv:2106.13112; numbers as sail-sg/volo `OutlookAttention`.

    Differs from the paper:
        The scores are divided by sqrt(d), and `strides` above one predict the maps from pooled
        pixels, as in the released code; the paper has neither. Another revision of that code
        replaces the sum over windows at stride 1 by another formula; here the paper's holds at all
        strides. xmu-xiaoma666's collection swaps padding, dilation and stride, so that it agrees
        at kernel size 3 and stride 1 only; its TensorFlow port never adds up the windows.
    """

    def __init__(
        self,
        num_heads: int = 1,
        *,
        kernel_size: int = 3,
        strides: int = 1,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = self.integer("num_heads", num_heads)
        self.kernel_size = self.odd("kernel_size", kernel_size)
        self.strides = self.integer("strides", strides)
        self.qkv_bias = self.flag("qkv_bias", qkv_bias)
        self.dropout = self.rate("dropout", dropout)

    def build(self, input_shape):
        """Create the dense layers of values, attention maps and output."""
        _, _, channels = self.check_image(input_shape)
        width = self.divisible("the number of channels", channels, "num_heads", self.num_heads)
        self.scale = width**-0.5
        maps = self.num_heads * self.kernel_size**4
        options = {"dtype": self.dtype_policy}
        self.value = keras.layers.Dense(channels, use_bias=self.qkv_bias, name="value", **options)
        self.attention = keras.layers.Dense(maps, name="attention", **options)
        self.project = keras.layers.Dense(channels, name="project", **options)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", **options)
        for layer in (self.value, self.attention, self.project):
            layer.build((None, channels))

    def call(self, x, training=None, return_attention_scores=False):
        """Mix the neighbourhood of every position of `x`."""
        x = self.to_channels_last(x)
        batch, height, width, channels = *ops.shape(x)[:3], x.shape[-1]
        size = self.kernel_size**2

        centres = mean_pool(x, self.strides) if self.strides > 1 else x  # (B, h, w, C)
        rows, columns = ops.shape(centres)[1], ops.shape(centres)[2]
        windows = (batch, rows * columns, self.num_heads)
        scores = ops.reshape(self.attention(centres), (*windows, size, size))
        attention = softmax(scores * self.scale)  # (B, h * w, heads, queries, keys)

        values = neighbours(self.value(x), self.kernel_size, self.strides)
        values = [ops.reshape(value, (*windows, channels // self.num_heads)) for value in values]
        values = ops.stack(values, axis=3)  # (B, h * w, heads, keys, d)
        mixed = ops.matmul(self.drop(attention, training=training), values)

        parts = ops.unstack(mixed, size, axis=3)
        parts = [ops.reshape(part, (batch, rows, columns, channels)) for part in parts]
        output = fold(parts, self.kernel_size, self.strides, height, width)  # (B, H, W, C)
        output = self.from_channels_last(self.project(output))
        attention = ops.transpose(attention, (0, 2, 1, 3, 4)) if return_attention_scores else None
        return self.result(output, attention, return_attention_scores)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the map."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        known = height is not None and width is not None
        windows = -(-height // self.strides) * -(-width // self.strides) if known else None
        return batch, self.num_heads, windows, self.kernel_size**2, self.kernel_size**2

    def torch_names(self) -> dict:
        """Name the parameters as sail-sg/volo does."""
        return {"v": self.value, "attn": self.attention, "proj": self.project}
