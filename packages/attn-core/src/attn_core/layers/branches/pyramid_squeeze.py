"""Pyramid squeeze attention."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.ops.precision import mean, softmax

BRANCHES = 4


@keras.saving.register_keras_serializable(package="attn_core")
class PyramidSqueezeAttention(ImageLayer):
    r"""Pyramid squeeze attention: lets the channels of convolutions of growing size compete.

    Four grouped convolutions of the input give a quarter of the output channels each; one
    squeeze-and-excitation, shared by the four, weighs the channels of each, and a softmax over
    the four makes them compete:

    $$f_i = K_i * x, \quad
    w_i = \sigma(W_2\,\mathrm{relu}(W_1\,\mathrm{mean}_{hw}(f_i) + b_1) + b_2), \quad
    y = [f_4\,\mathrm{softmax}_i(w)_4, \ldots, f_1\,\mathrm{softmax}_i(w)_1]$$

    Args:
        filters: Number of output channels, a multiple of 4; `None` = C.
        kernel_sizes: The four odd kernel sizes.
        groups: The groups of the four convolutions; they must divide C and `filters // 4`.
        reduction: Factor by which the hidden width of the squeeze-and-excitation is smaller; the
            width is `max(1, filters // 4 // reduction)`.
        strides: Strides of the convolutions.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the softmax over the branches too.

    Returns:
        Image of `filters` channels, height and width divided by `strides`, rounded up; with
        `return_attention_scores=True` also the softmax, `(B, 4, filters // 4)` in both data
        formats, the branches in the order of `kernel_sizes`.

    Raises:
        ValueError: If an argument is out of range, the input is not an image of a known number of
            channels, or the widths do not divide as stated.

    Example:
        >>> import numpy as np
        >>> PyramidSqueezeAttention(filters=128, strides=2)(np.ones((2, 7, 7, 64))).shape
        (2, 4, 4, 128)

    Reference:
        Zhang, Zu, Lu, Zou, Meng, "EPSANet: An Efficient Pyramid Squeeze Attention Block on
        Convolutional Neural Network", ACCV 2022, arXiv:2105.14447; numbers as murufeng/EPSANet
        `PSAModule`.

    Differs from the paper:
        As in the released code the branches are joined in reversed order, the last kernel first.
        The old collections split the input between the branches; that in TensorFlow takes the
        softmax over the channels.
    """

    def __init__(
        self,
        filters: int | None = None,
        *,
        kernel_sizes=(3, 5, 7, 9),
        groups=(1, 4, 8, 16),
        reduction: int = 16,
        strides: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = None if filters is None else self.integer("filters", filters)
        self.kernel_sizes = self.sequence("kernel_sizes", kernel_sizes, self.odd, BRANCHES)
        self.groups = self.sequence("groups", groups, self.integer, BRANCHES)
        self.reduction = self.integer("reduction", reduction)
        self.strides = self.integer("strides", strides)

    def build(self, input_shape):
        """Create the four convolutions and the squeeze-and-excitation that they share."""
        _, _, channels = self.check_image(input_shape)
        filters = channels if self.filters is None else self.filters
        width = self.divisible("filters (by default the channels)", filters, "branches", BRANCHES)

        self.convolutions = []
        for index, (size, groups) in enumerate(zip(self.kernel_sizes, self.groups, strict=True)):
            self.divisible("the number of channels", channels, f"groups[{index}]", groups)
            self.divisible("filters // 4", width, f"groups[{index}]", groups)
            convolve = Conv2D(
                width,
                size,
                strides=self.strides,
                groups=groups,
                use_bias=False,
                dtype=self.dtype_policy,
                name=f"convolve_{index}",
            )
            convolve.build((None, None, None, channels))
            self.convolutions.append(convolve)

        hidden, dtype = max(1, width // self.reduction), self.dtype_policy
        self.squeeze = keras.layers.Dense(hidden, activation="relu", dtype=dtype, name="squeeze")
        self.excite = keras.layers.Dense(width, activation="sigmoid", dtype=dtype, name="excite")
        self.squeeze.build((None, BRANCHES, width))
        self.excite.build((None, BRANCHES, hidden))

    def call(self, x, return_attention_scores=False):
        """Convolve `x` in four ways and weigh the channels of each."""
        x = self.to_channels_last(x)
        branches = [convolve(x) for convolve in self.convolutions]  # (B, H, W, width) each
        means = ops.stack([mean(branch, axis=(1, 2)) for branch in branches], axis=1)
        attention = softmax(self.excite(self.squeeze(means)), axis=1)  # (B, 4, width)

        gates = ops.split(ops.expand_dims(attention, 1), BRANCHES, axis=2)  # (B, 1, 1, width)
        weighed = [branch * gate for branch, gate in zip(branches, gates, strict=True)]
        output = ops.concatenate(weighed[::-1], axis=-1)  # (B, H, W, filters)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the output's shape."""
        batch, *size, channels = self.channels_last_shape(input_shape)
        size = (None if length is None else -(-length // self.strides) for length in size)
        return self.own_shape((batch, *size, channels if self.filters is None else self.filters))

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the softmax over the branches."""
        batch, _, _, filters = self.channels_last_shape(self.compute_output_shape(input_shape))
        return batch, BRANCHES, filters // BRANCHES

    def torch_names(self) -> dict:
        """Name the parameters as murufeng/EPSANet does."""
        names = {f"conv_{index + 1}": conv for index, conv in enumerate(self.convolutions)}
        return {**names, "se.fc1": self.squeeze, "se.fc2": self.excite}
