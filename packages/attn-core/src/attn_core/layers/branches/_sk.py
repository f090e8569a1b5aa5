"""Selective kernel attention."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean, softmax
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Branches, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class SKAttention(ImageLayer):
    r"""Selective kernel: a sum of convolutions of several sizes, weighted by a softmax per channel.

    Each branch convolves the whole input, with a different receptive field. The weight of each
    branch in each channel is computed from the average over the image of the sum of all branches:

    $$u_i = \mathrm{relu}(\mathrm{BN}(K_i * x)), \quad
    z = \mathrm{relu}(\mathrm{BN}(W\,\mathrm{mean}_{hw}\textstyle\sum_i u_i)), \quad
    y = \sum_i \mathrm{softmax}_i(A_i z) \cdot u_i$$

    Args:
        kernel_sizes: One odd size for each branch, at least 3 where `dilated`.
        reduction: Factor by which the width of z is smaller than C; the width is
            `max(C // reduction, min_width)`.
        min_width: Smallest width of z.
        groups: Number of groups of each convolution; it must divide C.
        dilated: Whether a branch of size k is a 3x3 convolution with dilation (k - 1) / 2, which
            has the same receptive field, rather than a k x k convolution.
        split_input: Whether each branch convolves only its share of the channels: with two
            branches, the first half or the second half. The number of branches must divide C.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether batch normalization uses the statistics of the batch.
        return_attention_scores: Whether to return the softmax over the branches too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the softmax,
        `(B, branches, C)` in both data formats.

    Raises:
        ValueError: If an argument is out of range, the input is not an image of a known number of
            channels, or `groups` does not divide that number.

    Example:
        >>> import numpy as np
        >>> SKAttention(kernel_sizes=(3, 5, 7))(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1903.06586. The outputs are the same as those of timm's `SelectiveKernel`, whose own
        setting is `split_input=True`, with a width of z of C / 16, rounded to a multiple of 8.

    Differs from the paper:
        Only a default value differs: the authors' networks use `groups=32`. The External-Attention
        collections leave out the batch normalization and the relu of z.
    """

    split = {"select": "inputs"}

    maps: ClassVar[tuple[Map, ...]] = (Branches(),)

    def __init__(
        self,
        kernel_sizes: Sequence[int] = (3, 5),
        *,
        reduction: int = 16,
        min_width: int = 32,
        groups: int = 1,
        dilated: bool = True,
        split_input: bool = False,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.dilated: bool = checks.flag(self, "dilated", dilated)
        minimum = 3 if dilated else 1  # a 3x3 convolution cannot have dilation (1 - 1) / 2 = 0
        self.kernel_sizes: tuple[int, ...] = checks.sequence(
            self, "kernel_sizes", kernel_sizes, partial(checks.odd, minimum=minimum)
        )
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.min_width: int = checks.integer(self, "min_width", min_width)
        self.groups: int = checks.integer(self, "groups", groups)
        self.split_input: bool = checks.flag(self, "split_input", split_input)

    def build(self, input_shape: Shape) -> None:
        """Create the branches and the two dense layers that compute their weights."""
        _, _, channels = self.check_image(input_shape)
        parts = len(self.kernel_sizes) if self.split_input else 1
        share = checks.divisible(self, "the number of channels", channels, "branches", parts)
        checks.divisible(self, "the number of channels of a branch", share, "groups", self.groups)
        width = max(channels // self.reduction, self.min_width)
        shape = (None, None, None, channels)

        self.convolutions: list[Conv2D] = []
        self.norms: list[BatchNormalization] = []
        for index in range(len(self.kernel_sizes)):
            options = {"use_bias": False, "name": f"convolve_{index}", **self._branch(index)}
            convolution = child(self, Conv2D, channels, shape=(None, None, None, share), **options)
            norm = child(self, BatchNormalization, shape=shape, name=f"normalize_{index}")
            self.convolutions.append(convolution)
            self.norms.append(norm)

        self.squeeze: keras.layers.Dense = dense(self, channels, width, "squeeze", use_bias=False)
        self.normalize: BatchNormalization = child(
            self, BatchNormalization, shape=(None, width), name="normalize"
        )
        scores = len(self.kernel_sizes) * channels
        self.select: keras.layers.Dense = dense(self, width, scores, "select", use_bias=False)

    def _branch(self, index: int) -> dict[str, Any]:
        """Return the arguments of the convolution of a branch."""
        size = self.kernel_sizes[index]
        kernel, dilation = (3, (size - 1) // 2) if self.dilated else (size, 1)
        return {"kernel_size": kernel, "dilation_rate": dilation, "groups": self.groups}

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Add the branches of `x`, with the weights of the softmax."""
        x = self.to_channels_last(x)
        count, channels = len(self.convolutions), x.shape[-1]
        parts = ops.split(x, count, axis=-1) if self.split_input else [x] * count
        branches = [
            ops.relu(normalize(convolve(part), training=training))
            for part, convolve, normalize in zip(parts, self.convolutions, self.norms, strict=True)
        ]
        # The sum of the means is the mean of the sum, without another image in memory.
        z = self.squeeze(sum(mean(branch, axis=(1, 2)) for branch in branches))  # (B, width)
        z = ops.relu(self.normalize(z, training=training))
        scores = ops.reshape(self.select(z), (-1, count, channels))
        attention = softmax(scores, axis=1)  # (B, branches, C)

        gates = ops.split(ops.expand_dims(attention, 1), count, axis=2)  # (B, 1, 1, C)
        output = sum(branch * gate for branch, gate in zip(branches, gates, strict=True))
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the softmax over the branches."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return batch, len(self.kernel_sizes), channels

    def torch_names(self) -> TorchNames:
        """Name the parameters as timm does."""
        names = {
            "attn.fc_reduce": self.squeeze,
            "attn.bn": self.normalize,
            "attn.fc_select": self.select,
        }
        for index, (conv, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            names |= {f"paths.{index}.conv": conv, f"paths.{index}.bn": norm}
        return Schemes(timm=names)
