"""Split attention (ResNeSt)."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean, softmax
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, Split
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Branches, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class SplitAttention(ImageLayer):
    r"""Split attention: adds the branches of a grouped convolution, with weights for each channel.

    A convolution with `groups * radix` groups computes `radix` blocks of `filters` channels. Two
    dense layers compute scores from the mean of the sum of the blocks, and a softmax over the
    blocks gives the weight of each block:

    $$[u_1 \dots u_R] = \mathrm{relu}(\mathrm{BN}(K * x)), \quad
    z = \mathrm{relu}(\mathrm{BN}(W_1\,\mathrm{mean}_{hw}\textstyle\sum_r u_r + b_1)), \quad
    y = \sum_r \mathrm{softmax}_r(W_2 z + b_2)_r \cdot u_r$$

    K has no bias. $W_1$ and $W_2$ have `groups` groups: output (r, j) of a group of $W_2$ is the
    score of block r for channel j of the same group. With `radix=1` a sigmoid replaces the softmax.

    Args:
        filters: Number of output channels; `None` = C.
        radix: Number of blocks.
        groups: Groups of each block, as of a grouped convolution; `groups * radix` must divide C,
            and `groups` must divide `filters` and the width of z.
        reduction: Factor by which z is smaller than C * radix; its width is
            `max(C * radix // reduction, 32)`.
        kernel_size: Odd size of the convolution.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether batch normalization uses the statistics of the batch.
        return_attention_scores: Whether to return the weights of the blocks too.

    Returns:
        Image of `filters` channels, of the input's height and width; with
        `return_attention_scores=True` also the softmax, `(B, radix, filters)` in both data formats.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image of a known
            number of channels.

    Example:
        >>> import numpy as np
        >>> layer = SplitAttention(64, groups=2, data_format="channels_last")
        >>> layer(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 64)

    Reference:
        arXiv:2004.08955. The outputs are the same as those of zhanghang1989/ResNeSt `SplAtConv2d`
        as its networks build it: with BatchNormalization, without a bias of the convolution, padded
        by `kernel_size // 2`. Weights of timm's `SplitAttn` have the same names, and load where its
        width of z, a multiple of 8, is the same.

    Differs from the paper:
        There is no difference. The released class has other defaults (a bias of the convolution, no
        norm, no padding), which no released network uses. Its DropBlock and rectified convolution
        are not included. As there, the width of z is at least 32.
    """

    maps: ClassVar[tuple[Map, ...]] = (Branches(),)
    split: ClassVar[dict[str, Split]] = {"select": "inputs"}

    def __init__(
        self,
        filters: int | None = None,
        *,
        radix: int = 2,
        groups: int = 1,
        reduction: int = 4,
        kernel_size: int = 3,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters: int | None = checks.optional(checks.integer, self, "filters", filters)
        self.radix: int = checks.integer(self, "radix", radix)
        self.groups: int = checks.integer(self, "groups", groups)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)

    def build(self, input_shape: Shape) -> None:
        """Create the convolution and the two dense layers that compute the weights."""
        _, _, channels = self.check_image(input_shape)
        filters = channels if self.filters is None else self.filters
        width = max(channels * self.radix // self.reduction, 32)
        splits = self.groups * self.radix
        checks.divisible(self, "the number of channels", channels, "groups * radix", splits)
        checks.divisible(self, "filters (by default the channels)", filters, "groups", self.groups)
        checks.divisible(self, "the width of z", width, "groups", self.groups)

        blocks = filters * self.radix
        self.convolve: Conv2D = self._convolution(
            "convolve", channels, blocks, self.kernel_size, groups=splits, use_bias=False
        )
        self.convolve_norm: BatchNormalization = self._norm("convolve_norm", blocks)
        self.squeeze: Conv2D = self._convolution("squeeze", filters, width, 1, groups=self.groups)
        self.squeeze_norm: BatchNormalization = self._norm("squeeze_norm", width)
        self.select: Conv2D = self._convolution("select", width, blocks, 1, groups=self.groups)

    def _convolution(
        self, name: str, inputs: int, outputs: int, size: int, **options: Any
    ) -> Conv2D:
        shape = (None, None, None, inputs)
        return child(self, Conv2D, outputs, size, shape=shape, name=name, **options)

    def _norm(self, name: str, channels: int) -> BatchNormalization:
        return child(self, BatchNormalization, shape=(None, None, None, channels), name=name)

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Add the blocks of `x`, with the weights of the softmax."""
        x = self.to_channels_last(x)
        x = ops.relu(self.convolve_norm(self.convolve(x), training=training))
        blocks = ops.split(x, self.radix, axis=-1)  # (B, H, W, filters) each
        # The sum of the means is the mean of the sum, without another image in memory.
        z = self.squeeze(sum(mean(block, axis=(1, 2), keepdims=True) for block in blocks))
        z = ops.relu(self.squeeze_norm(z, training=training))  # (B, 1, 1, width)
        attention = self._weights_of_blocks(self.select(z))  # (B, radix, filters)

        gates = ops.split(ops.expand_dims(attention, 1), self.radix, axis=2)  # (B, 1, 1, filters)
        output = sum(block * gate for block, gate in zip(blocks, gates, strict=True))
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def _weights_of_blocks(self, scores: Tensor) -> Tensor:
        """Return the softmax over the blocks of scores in the order (group, block, channel)."""
        filters = scores.shape[-1] // self.radix
        scores = ops.reshape(scores, (-1, self.groups, self.radix, filters // self.groups))
        scores = ops.transpose(scores, (0, 2, 1, 3))
        scores = ops.reshape(scores, (-1, self.radix, filters))
        return ops.sigmoid(scores) if self.radix == 1 else softmax(scores, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape: the input's, `filters` channels wide."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        return self.from_channels_last_shape((batch, height, width, self.filters or channels))

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the softmax over the blocks."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return batch, self.radix, self.filters or channels

    def torch_names(self) -> TorchNames:
        """Name the parameters as zhanghang1989/ResNeSt and timm do."""
        return {
            "conv": self.convolve,
            "bn0": self.convolve_norm,
            "fc1": self.squeeze,
            "bn1": self.squeeze_norm,
            "fc2": self.select,
        }
