"""Selective kernel attention."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.ops.precision import mean, softmax


@keras.saving.register_keras_serializable(package="attn_core")
class SKAttention(ImageLayer):
    r"""Selective kernel: chooses, channel by channel, between convolutions of several sizes.

    Branches with different receptive fields look at the whole input; what they hold on average
    decides by a softmax over the branches how much each channel takes of each:

    $$u_i = \mathrm{relu}(\mathrm{BN}(K_i * x)), \quad
    z = \mathrm{relu}(\mathrm{BN}(W\,\mathrm{mean}_{hw}\textstyle\sum_i u_i)), \quad
    y = \sum_i \mathrm{softmax}_i(A_i z) \cdot u_i$$

    Args:
        kernel_sizes: One odd size for each branch, at least 3 where `dilated`.
        reduction: Factor by which the width of z is smaller than C; the width is
            `max(C // reduction, min_width)`.
        min_width: Least width of z.
        groups: Groups of each convolution; they must divide C.
        dilated: Whether a branch of size k is a 3x3 convolution dilated by (k - 1) / 2, which
            sees as far, rather than a k x k convolution.
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
        Li, Wang, Hu, Yang, "Selective Kernel Networks", CVPR 2019, arXiv:1903.06586; numbers as
        `SelectiveKernel` of timm with `split_input=False`.

    Differs from the paper:
        In nothing but a default: the authors' networks use `groups=32`. The old collections leave
        out the batch normalization and the relu of z.
    """

    def __init__(
        self,
        kernel_sizes=(3, 5),
        *,
        reduction: int = 16,
        min_width: int = 32,
        groups: int = 1,
        dilated: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dilated = self.flag("dilated", dilated)
        least = 3 if dilated else 1  # a 3x3 convolution cannot be dilated by (1 - 1) / 2 = 0
        self.kernel_sizes = self.sequence(
            "kernel_sizes", kernel_sizes, lambda name, size: self.odd(name, size, least)
        )
        self.reduction = self.integer("reduction", reduction)
        self.min_width = self.integer("min_width", min_width)
        self.groups = self.integer("groups", groups)

    def build(self, input_shape):
        """Create the branches and the two dense layers that choose between them."""
        _, _, channels = self.check_image(input_shape)
        self.divisible("the number of channels", channels, "groups", self.groups)
        width = max(channels // self.reduction, self.min_width)
        options = {"use_bias": False, "dtype": self.dtype_policy}

        self.convolutions, self.norms = [], []
        for index, size in enumerate(self.kernel_sizes):
            kernel, dilation = (3, (size - 1) // 2) if self.dilated else (size, 1)
            convolve = Conv2D(
                channels,
                kernel,
                dilation_rate=dilation,
                groups=self.groups,
                name=f"convolve_{index}",
                **options,
            )
            normalize = BatchNormalization(name=f"normalize_{index}", dtype=self.dtype_policy)
            convolve.build((None, None, None, channels))
            normalize.build((None, None, None, channels))
            self.convolutions.append(convolve)
            self.norms.append(normalize)

        self.squeeze = keras.layers.Dense(width, name="squeeze", **options)
        self.normalize = BatchNormalization(name="normalize", dtype=self.dtype_policy)
        self.select = keras.layers.Dense(
            len(self.kernel_sizes) * channels, name="select", **options
        )
        self.squeeze.build((None, channels))
        self.normalize.build((None, width))
        self.select.build((None, width))

    def call(self, x, training=None, return_attention_scores=False):
        """Mix the branches over `x`."""
        x = self.to_channels_last(x)
        branches = [
            ops.relu(normalize(convolve(x), training=training))
            for convolve, normalize in zip(self.convolutions, self.norms, strict=True)
        ]
        # The mean of the sum is the sum of the means: no further map is written.
        z = self.squeeze(sum(mean(branch, axis=(1, 2)) for branch in branches))  # (B, width)
        z = ops.relu(self.normalize(z, training=training))
        scores = ops.reshape(self.select(z), (-1, len(branches), x.shape[-1]))
        attention = softmax(scores, axis=1)  # (B, branches, C)

        gates = ops.split(ops.expand_dims(attention, 1), len(branches), axis=2)  # (B, 1, 1, C)
        output = sum(branch * gate for branch, gate in zip(branches, gates, strict=True))
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the softmax over the branches."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return batch, len(self.kernel_sizes), channels

    def torch_names(self) -> dict:
        """Name the parameters as timm does."""
        names = {
            "attn.fc_reduce": self.squeeze,
            "attn.bn": self.normalize,
            "attn.fc_select": self.select,
        }
        for index, (conv, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            names |= {f"paths.{index}.conv": conv, f"paths.{index}.bn": norm}
        return names
