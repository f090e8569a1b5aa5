"""Outlook attention."""

from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import softmax
from attn_core._ops.windows import fold, mean_pool, neighbours
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, positions
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Windows


@keras.saving.register_keras_serializable(package="attn_core")
class OutlookAttention(ImageLayer):
    r"""Outlook attention: every position predicts the attention map of its neighbourhood.

    A dense layer computes the attention map of the k x k window around a position directly from the
    channels of this position, without queries and keys. For each window there are k x k weighted
    sums of its values; where windows overlap, these sums are added:

    $$Y_{p} = W_o \sum_{i} \Big( \mathrm{softmax}_j\big(A_{p-i} / \sqrt{d}\big)\, V_{p-i+j}
        \Big)_{i}, \quad A = W_a\,\mathrm{pool}(x) + b_a, \quad V = W_v\,x$$

    where i and j run over the k * k offsets of a window, and d = C / num_heads.

    Args:
        num_heads: Number of heads; divides C.
        kernel_size: Odd size k of the windows.
        strides: Distance between windows. The maps are predicted from averages over
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
        arXiv:2106.13112. The outputs are the same as those of sail-sg/volo `OutlookAttention`.

    Differs from the paper:
        As in the released code, the scores are divided by $\sqrt{d}$, and with `strides` above one
        the maps are predicted from pooled pixels; the paper has neither. Another revision of that
        code replaces the sum over windows at stride 1 by another formula; here the paper's formula
        is used at all strides. xmu-xiaoma666's collection exchanges padding, dilation and stride,
        so it only agrees at kernel size 3 and stride 1; its TensorFlow port does not add the
        windows.
    """

    maps = (Windows(),)
    split = {"attention": "heads", "value": "heads", "project": "head inputs"}

    def __init__(
        self,
        num_heads: int = 1,
        *,
        kernel_size: int = 3,
        strides: int = 1,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)
        self.strides: int = checks.integer(self, "strides", strides)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the dense layers of values, attention maps and output."""
        _, _, channels = self.check_image(input_shape)
        checks.divisible(self, "the number of channels", channels, "num_heads", self.num_heads)
        maps = self.num_heads * self.kernel_size**4
        self.value: keras.layers.Dense = dense(
            self, channels, channels, "value", use_bias=self.qkv_bias
        )
        self.attention: keras.layers.Dense = dense(self, channels, maps, "attention")
        self.project: keras.layers.Dense = dense(self, channels, channels, "project")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Attend to the neighbourhood of every position of `x`."""
        x = self.to_channels_last(x)
        batch, height, width, channels = *ops.shape(x)[:3], x.shape[-1]
        size, head_width = self.kernel_size**2, channels // self.num_heads

        centres = mean_pool(x, self.strides) if self.strides > 1 else x  # (B, h, w, C)
        rows, columns = ops.shape(centres)[1], ops.shape(centres)[2]
        windows = (batch, rows * columns, self.num_heads)
        scores = ops.reshape(self.attention(centres), (*windows, size, size))
        attention = softmax(scores * head_width**-0.5)  # (B, h * w, heads, queries, keys)

        values = neighbours(self.value(x), self.kernel_size, self.strides)
        values = [ops.reshape(value, (*windows, head_width)) for value in values]
        values = ops.stack(values, axis=3)  # (B, h * w, heads, keys, d)
        mixed = ops.matmul(self.drop(attention, training=training), values)

        parts = ops.unstack(mixed, size, axis=3)
        parts = [ops.reshape(part, (batch, rows, columns, channels)) for part in parts]
        output = fold(parts, self.kernel_size, self.strides, height, width)  # (B, H, W, C)
        output = self.from_channels_last(self.project(output))
        attention = ops.transpose(attention, (0, 2, 1, 3, 4)) if return_attention_scores else None
        return self.result(output, attention, return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the map."""
        batch, *size, _ = self.channels_last_shape(input_shape)
        rows, columns = (None if side is None else -(-side // self.strides) for side in size)
        pixels = self.kernel_size**2
        return batch, self.num_heads, positions(rows, columns), pixels, pixels

    def torch_names(self) -> TorchNames:
        """Name the parameters as sail-sg/volo does."""
        return {"v": self.value, "attn": self.attention, "proj": self.project}
