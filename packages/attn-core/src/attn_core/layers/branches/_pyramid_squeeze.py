"""Pyramid squeeze attention."""

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean, softmax
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Branches, Map

BRANCHES = 4


@keras.saving.register_keras_serializable(package="attn_core")
class PyramidSqueezeAttention(ImageLayer):
    r"""Pyramid squeeze attention: four convolutions of increasing size, weighted by a softmax.

    Each of four grouped convolutions of the input computes a quarter of the output channels. The
    four share one squeeze-and-excitation, which computes a score for each of their channels. A
    softmax of the scores over the four gives the weights:

    $$f_i = K_i * x, \quad
    w_i = \sigma(W_2\,\mathrm{relu}(W_1\,\mathrm{mean}_{hw}(f_i) + b_1) + b_2), \quad
    y = [f_4\,\mathrm{softmax}_i(w)_4, \ldots, f_1\,\mathrm{softmax}_i(w)_1]$$

    Args:
        filters: Number of output channels, a multiple of 4; `None` = C.
        kernel_sizes: The four odd kernel sizes.
        groups: Numbers of groups of the four convolutions; each must divide C and `filters // 4`.
        reduction: Factor by which the hidden width of the squeeze-and-excitation is smaller than
            `filters // 4`; the width is `max(1, filters // 4 // reduction)`.
        strides: Strides of the convolutions.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the softmax over the branches too.

    Returns:
        Image of `filters` channels, with height and width divided by `strides`, rounded up; with
        `return_attention_scores=True` also the softmax, `(B, 4, filters // 4)` in both data
        formats, the branches in the order of `kernel_sizes`.

    Raises:
        ValueError: If an argument is out of range, the input is not an image of a known number of
            channels, or one of the numbers that must divide others does not.

    Example:
        >>> import numpy as np
        >>> PyramidSqueezeAttention(filters=128, strides=2)(np.ones((2, 7, 7, 64))).shape
        (2, 4, 4, 128)

    Reference:
        arXiv:2105.14447. The outputs are the same as those of murufeng/EPSANet `PSAModule`.

    Differs from the paper:
        As in the released code, the branches are concatenated in reverse order, beginning with the
        last kernel. The External-Attention collections split the input between the branches; the
        one in TensorFlow applies the softmax over the channels.
    """

    split = {"excite": "inputs"}

    maps: ClassVar[tuple[Map, ...]] = (Branches(),)

    def __init__(
        self,
        filters: int | None = None,
        *,
        kernel_sizes: Sequence[int] = (3, 5, 7, 9),
        groups: Sequence[int] = (1, 4, 8, 16),
        reduction: int = 16,
        strides: int = 1,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters: int | None = checks.optional(checks.integer, self, "filters", filters)
        self.kernel_sizes: tuple[int, ...] = checks.sequence(
            self, "kernel_sizes", kernel_sizes, checks.odd, BRANCHES
        )
        self.groups: tuple[int, ...] = checks.sequence(
            self, "groups", groups, checks.integer, BRANCHES
        )
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.strides: int = checks.integer(self, "strides", strides)

    def build(self, input_shape: Shape) -> None:
        """Create the four convolutions and the squeeze-and-excitation that they share."""
        _, _, channels = self.check_image(input_shape)
        filters = channels if self.filters is None else self.filters
        width = checks.divisible(
            self, "filters (by default the channels)", filters, "branches", BRANCHES
        )

        self.convolutions: list[Conv2D] = []
        for index, (size, groups) in enumerate(zip(self.kernel_sizes, self.groups, strict=True)):
            checks.divisible(self, "the number of channels", channels, f"groups[{index}]", groups)
            checks.divisible(self, "filters // 4", width, f"groups[{index}]", groups)
            convolution = child(
                self,
                Conv2D,
                width,
                size,
                shape=(None, None, None, channels),
                strides=self.strides,
                groups=groups,
                use_bias=False,
                name=f"convolve_{index}",
            )
            self.convolutions.append(convolution)

        hidden = max(1, width // self.reduction)
        self.squeeze: keras.layers.Dense = dense(self, width, hidden, "squeeze", activation="relu")
        self.excite: keras.layers.Dense = dense(self, hidden, width, "excite", activation="sigmoid")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Convolve `x` in four ways and weight the channels of each."""
        x = self.to_channels_last(x)
        branches = [convolve(x) for convolve in self.convolutions]  # (B, H, W, width) each
        means = ops.stack([mean(branch, axis=(1, 2)) for branch in branches], axis=1)
        attention = softmax(self.excite(self.squeeze(means)), axis=1)  # (B, 4, width)

        gates = ops.split(ops.expand_dims(attention, 1), BRANCHES, axis=2)  # (B, 1, 1, width)
        weighted = [branch * gate for branch, gate in zip(branches, gates, strict=True)]
        output = ops.concatenate(weighted[::-1], axis=-1)  # (B, H, W, filters)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output: `filters` channels, the size divided by the strides."""
        batch, *size, channels = self.channels_last_shape(input_shape)
        size = (None if length is None else -(-length // self.strides) for length in size)
        return self.from_channels_last_shape(
            (batch, *size, channels if self.filters is None else self.filters)
        )

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the softmax over the branches."""
        batch, _, _, filters = self.channels_last_shape(self.compute_output_shape(input_shape))
        return batch, BRANCHES, filters // BRANCHES

    def torch_names(self) -> TorchNames:
        """Name the parameters as murufeng/EPSANet does."""
        names = {f"conv_{index + 1}": conv for index, conv in enumerate(self.convolutions)}
        return {**names, "se.fc1": self.squeeze, "se.fc2": self.excite}
