"""CBAM, the convolutional block attention module."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.ops.precision import mean, upcast


def pool(x, kind: str):
    """Pool `(B, H, W, C)` over height and width to `(B, 1, 1, C)`."""
    over = {"axis": (1, 2), "keepdims": True}
    if kind == "avg":
        return mean(x, **over)
    if kind == "max":
        return ops.max(x, **over)
    if kind == "lp":
        squares = ops.sum(ops.square(upcast(x)), **over)
        pooled = ops.sqrt(ops.maximum(squares, 1e-24))  # at 0 the root has no finite slope
    else:
        pooled = ops.logsumexp(upcast(x), **over)
    return ops.cast(pooled, x.dtype)


@keras.saving.register_keras_serializable(package="attn_core")
class CBAM(ImageLayer):
    r"""CBAM: weighs first the channels, then the positions, each by a pooled summary.

    Every pooling p of the image passes through one shared two-layer network, and the sum gives the
    weights of the channels. The maximum and the mean over the channels of the image so weighed pass
    through a convolution and give the weights of the positions:

    $$z = x \cdot \sigma\Big(\sum_p W_2\,\mathrm{relu}(W_1\,p_{hw}(x))\Big), \qquad
    y = z \cdot \sigma(\mathrm{BN}(K * [\max_c z;\ \mathrm{mean}_c\, z]))$$

    $W_1$, from C to `max(1, C // reduction)`, and $W_2$, back to C, have biases. K is one filter of
    `kernel_size` x `kernel_size` x 2 without a bias, on the map padded with zeros; BN is that of
    one channel, and keeps 0.99 of its moving statistics at each batch.

    Args:
        reduction: Factor by which the hidden width is smaller than C; the width is
            `max(1, C // reduction)`.
        kernel_size: Odd size of the convolution over positions.
        pool_types: Poolings of the channel gate: "avg", "max", "lp" (the root of the sum of
            squares) and "lse" (the logarithm of the sum of exponentials).
        spatial: Whether to weigh the positions, or the channels only.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the tuple of the two
        gates, `(B, 1, 1, C)` and `(B, H, W, 1)`, or `(B, C, 1, 1)` and `(B, 1, H, W)`; with
        `spatial=False` the gate of the channels alone.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image of a known
            number of channels.

    Example:
        >>> import numpy as np
        >>> layer = CBAM(reduction=4, data_format="channels_last")
        >>> y, (channel, spatial) = layer(np.ones((2, 7, 9, 32)), return_attention_scores=True)
        >>> tuple(y.shape), tuple(channel.shape), tuple(spatial.shape)
        ((2, 7, 9, 32), (2, 1, 1, 32), (2, 7, 9, 1))

    Reference:
        Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018,
        arXiv:1807.06521; numbers as Jongchan/attention-module `CBAM`.

    Differs from the paper:
        As in the authors' code, the dense layers have biases, the convolution has none and ends in
        BatchNormalization, and the maximum comes before the mean: equation 3 has the mean first
        and no norm. The External-Attention collections add the input to the output and have no
        BatchNormalization.
    """

    def __init__(
        self,
        reduction: int = 16,
        *,
        kernel_size: int = 7,
        pool_types: tuple[str, ...] = ("avg", "max"),
        spatial: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.reduction = self.integer("reduction", reduction)
        self.kernel_size = self.odd("kernel_size", kernel_size)
        self.pool_types = self.sequence("pool_types", pool_types, self._pool_type)
        self.spatial = self.flag("spatial", spatial)

    def _pool_type(self, name, value) -> str:
        return self.choice(name, value, ("avg", "max", "lp", "lse"))

    def build(self, input_shape):
        """Create the dense layers, the convolution and its norm."""
        _, _, channels = self.check_image(input_shape)
        width = max(1, channels // self.reduction)
        dtype = self.dtype_policy
        self.squeeze = keras.layers.Dense(width, activation="relu", name="squeeze", dtype=dtype)
        self.excite = keras.layers.Dense(channels, name="excite", dtype=dtype)
        self.squeeze.build((None, channels))
        self.excite.build((None, width))
        if self.spatial:
            self.conv = Conv2D(1, self.kernel_size, use_bias=False, name="conv", dtype=dtype)
            self.norm = BatchNormalization(
                momentum=0.99,  # the authors' 0.01 of PyTorch, not its default
                name="norm",
                dtype=dtype,
            )
            self.conv.build((None, None, None, 2))
            self.norm.build((None, None, None, 1))

    def call(self, x, training=None, return_attention_scores=False):
        """Weigh the channels of `x`, then its positions."""
        x = self.to_channels_last(x)
        pooled = [pool(x, kind) for kind in self.pool_types]
        pooled = self.excite(self.squeeze(ops.concatenate(pooled, axis=1)))  # (B, poolings, 1, C)
        channel = ops.sigmoid(ops.sum(pooled, axis=1, keepdims=True))  # (B, 1, 1, C)
        x = x * channel
        gates = self.from_channels_last(channel)
        if self.spatial:
            pooled = [ops.max(x, axis=-1, keepdims=True), mean(x, axis=-1, keepdims=True)]
            spatial = self.conv(ops.concatenate(pooled, axis=-1))  # (B, H, W, 1)
            spatial = ops.sigmoid(self.norm(spatial, training=training))
            x = x * spatial
            gates = gates, self.from_channels_last(spatial)
        return self.result(self.from_channels_last(x), gates, return_attention_scores)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shapes of the two gates, or of the channels' alone."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        channel = self.own_shape((batch, 1, 1, channels))
        spatial = self.own_shape((batch, height, width, 1))
        return (channel, spatial) if self.spatial else channel

    def torch_names(self) -> dict:
        """Name the parameters as Jongchan/attention-module does."""
        names = {"ChannelGate.mlp.1": self.squeeze, "ChannelGate.mlp.3": self.excite}
        if self.spatial:
            names |= {"SpatialGate.spatial.conv": self.conv, "SpatialGate.spatial.bn": self.norm}
        return names
