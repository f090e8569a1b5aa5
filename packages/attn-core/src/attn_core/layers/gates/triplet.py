"""Triplet attention."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.ops.precision import mean
from attn_core.weights.entries import transposed


@keras.saving.register_keras_serializable(package="attn_core")
class TripletAttention(ImageLayer):
    r"""Triplet attention: gates the image along each pair of its three axes.

    For each axis a of H, W and C in turn, the image is reduced along a to its maximum and its mean;
    a convolution over the two other axes turns them into a gate. The gated images are averaged:

    $$g_a = \sigma(\mathrm{BN}(\mathrm{conv}([\max\nolimits_a x, \mathrm{mean}_a\,x])))
    \qquad y = x \cdot \tfrac13 (g_H + g_W + g_C)$$

    The convolutions have no biases; BN keeps 0.99 of its moving statistics at each batch.

    Args:
        kernel_size: Odd size of the three convolutions.
        spatial: Whether the third gate, over height and width, takes part; y is the average of
            the other two without it.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether the batch normalizations use, and update, the statistics of the batch.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gates
        `(B, 1, W, C)`, `(B, H, 1, C)` and, if `spatial`, `(B, H, W, 1)` as a tuple; their axes are
        in the order of `data_format`.

    Raises:
        ValueError: If `kernel_size` is not an odd positive integer, `spatial` is not a bool, or the
            input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> TripletAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Misra, Nalamada, Arasanipalai, Hou, "Rotate to Attend: Convolutional Triplet Attention
        Module", WACV 2021, arXiv:2010.03045; numbers as landskape-ai/triplet-attention
        `TripletAttention` (`spatial=False` is its `no_spatial=True`).

    Differs from the paper:
        Nothing: paper, released code and the External-Attention collection in PyTorch agree. Here
        nothing is rotated; the image is reduced where it lies.
    """

    def __init__(self, kernel_size: int = 7, *, spatial: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = self.odd("kernel_size", kernel_size)
        self.spatial = self.flag("spatial", spatial)

    def build(self, input_shape):
        """Create a convolution and a batch normalization for each gate."""
        self.check_image(input_shape)
        self.convolutions, self.norms = [], []
        for name in ("channel_width", "height_channel", "height_width")[: 2 + self.spatial]:
            convolution = Conv2D(
                1, self.kernel_size, use_bias=False, name=f"{name}_conv", dtype=self.dtype_policy
            )
            norm = BatchNormalization(  # the authors' momentum, 0.01 in PyTorch
                momentum=0.99, name=f"{name}_norm", dtype=self.dtype_policy
            )
            convolution.build((None, None, None, 2))
            norm.build((None, None, None, 1))
            self.convolutions.append(convolution)
            self.norms.append(norm)

    def call(self, x, training=None, return_attention_scores=False):
        """Gate `x` along each pair of axes."""
        x = self.to_channels_last(x)
        gates = [self._gate(x, axis, training) for axis in range(1, 3 + self.spatial)]
        output = x * sum(gate / len(gates) for gate in gates)  # divided while they are small
        maps = tuple(self.from_channels_last(gate) for gate in gates)
        return self.result(self.from_channels_last(output), maps, return_attention_scores)

    def _gate(self, x, axis, training):
        """Make a gate over two axes from what is left of `x` without the third, `axis`."""
        pooled = ops.stack([ops.max(x, axis=axis), mean(x, axis=axis)], axis=-1)  # (B, _, _, 2)
        gate = self.convolutions[axis - 1](pooled)
        gate = ops.sigmoid(self.norms[axis - 1](gate, training=training))  # (B, _, _, 1)
        return ops.expand_dims(ops.squeeze(gate, -1), axis)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shapes of the gates."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        shapes = (
            (batch, 1, width, channels),
            (batch, height, 1, channels),
            (batch, height, width, 1),
        )
        return tuple(self.own_shape(shape) for shape in shapes[: 2 + self.spatial])

    def torch_names(self) -> dict:
        """Name the parameters as landskape-ai/triplet-attention does."""
        names = {
            # Over (channels, width) there, over (width, channels) here.
            "cw.conv.conv.weight": transposed(self.convolutions[0].kernel, (3, 2, 1, 0)),
            "cw.conv.bn": self.norms[0],
            "hc.conv.conv": self.convolutions[1],
            "hc.conv.bn": self.norms[1],
        }
        if self.spatial:
            names |= {"hw.conv.conv": self.convolutions[2], "hw.conv.bn": self.norms[2]}
        return names
