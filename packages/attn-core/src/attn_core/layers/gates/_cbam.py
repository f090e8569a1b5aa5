"""CBAM, the convolutional block attention module."""

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.maxima import maximum
from attn_core._ops.precision import mean, upcast
from attn_core._ops.tokens import spatial
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Entry, Schemes, transposed
from attn_core.layers._base import ANY_SPACE, ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Convolution, convolution
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import BatchNormalization

POOLINGS = ("avg", "max", "lp", "lse")


def pool(x: Tensor, kind: str) -> Tensor:
    """Pool `(B, ..., C)` over all positions to `(B, 1, ..., C)`."""
    over = {"axis": spatial(x), "keepdims": True}
    if kind == "avg":
        return mean(x, **over)
    if kind == "max":
        return maximum(x, **over)
    if kind == "lp":
        squares = ops.sum(ops.square(upcast(x)), **over)
        pooled = ops.sqrt(ops.maximum(squares, 1e-24))  # the root has no finite derivative at 0
    else:
        pooled = ops.logsumexp(upcast(x), **over)
    return ops.cast(pooled, x.dtype)


@keras.saving.register_keras_serializable(package="attn_core")
class CBAM(ImageLayer):
    r"""CBAM: rescales first the channels, then the positions, by weights from maxima and means.

    Each pooling p reduces every channel of the image to one number. The results pass through one
    shared network of two layers; their sum gives the weights of the channels. Then a convolution
    computes the weights of the positions from the maximum and the mean over the channels of the
    rescaled image z:

    $$z = x \cdot \sigma\Big(\sum_p W_2\,\mathrm{relu}(W_1\,p_{hw}(x))\Big), \qquad
    y = z \cdot \sigma(\mathrm{BN}(K * [\max_c z;\ \mathrm{mean}_c\, z]))$$

    $W_1$ maps C channels to `max(1, C // reduction)`, $W_2$ maps them back to C; both have biases
    unless `use_bias=False`. K is one filter of `kernel_size` x `kernel_size` x 2 without a bias,
    and its input is padded with zeros; for signals it has one such axis instead of two, for volumes
    three. BN normalises the single channel of the result; its momentum is 0.99.

    Args:
        reduction: Factor by which the hidden width is smaller than C; the width is
            `max(1, C // reduction)`.
        kernel_size: Odd size of the convolution over positions.
        pool_types: Poolings of the channel gate: "avg", "max", "lp" (the root of the sum of
            squares) and "lse" (the logarithm of the sum of exponentials).
        spatial: Whether to rescale the positions too, or only the channels.
        use_bias: Whether $W_1$ and $W_2$ have biases.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        training: Whether BatchNormalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gates too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of the two
        gates, `(B, 1, 1, C)` and `(B, H, W, 1)`, or `(B, C, 1, 1)` and `(B, 1, H, W)`; with
        `spatial=False` only the gate of the channels.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image, signal or
            volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> layer = CBAM(reduction=4, data_format="channels_last")
        >>> y, (channel, spatial) = layer(np.ones((2, 7, 9, 32)), return_attention_scores=True)
        >>> tuple(y.shape), tuple(channel.shape), tuple(spatial.shape)
        ((2, 7, 9, 32), (2, 1, 1, 32), (2, 7, 9, 1))

    Reference:
        arXiv:1807.06521. The outputs are the same as those of Jongchan/attention-module `CBAM`.
        Weights of timm's `CbamModule` load too; its own setting is `use_bias=False`.

    Differs from the paper:
        As in the authors' code, the dense layers have biases. The convolution has no bias and is
        followed by BatchNormalization, and its input is the maximum, then the mean. In equation 3
        the mean comes first, and there is no norm. The External-Attention collections add the input
        to the output and have no BatchNormalization.
    """

    split = {"excite": "inputs"}

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(), Gate())

    def __init__(
        self,
        reduction: int = 16,
        *,
        kernel_size: int = 7,
        pool_types: tuple[str, ...] = ("avg", "max"),
        spatial: bool = True,
        use_bias: bool = True,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)
        self.pool_types: tuple[str, ...] = checks.sequence(
            self, "pool_types", pool_types, partial(checks.choice, choices=POOLINGS)
        )
        self.spatial: bool = checks.flag(self, "spatial", spatial)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)

    def build(self, input_shape: Shape) -> None:
        """Create the dense layers, the convolution and its norm."""
        channels = self.check_channels(input_shape)
        width, bias = max(1, channels // self.reduction), {"use_bias": self.use_bias}
        self.squeeze: keras.layers.Dense = dense(
            self, channels, width, "squeeze", activation="relu", **bias
        )
        self.excite: keras.layers.Dense = dense(self, width, channels, "excite", **bias)
        if self.spatial:
            size = (None,) * (len(input_shape) - 1)
            pooled, scores = (*size, 2), (*size, 1)
            options = {"use_bias": False, "name": "conv"}
            self.conv: Convolution = child(
                self, convolution(pooled), 1, self.kernel_size, shape=pooled, **options
            )
            self.norm: BatchNormalization = child(  # 0.01 in the authors' PyTorch code
                self, BatchNormalization, shape=scores, momentum=0.99, name="norm"
            )

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Rescale the channels of `x`, then its positions."""
        x = self.to_channels_last(x)
        pooled = [pool(x, kind) for kind in self.pool_types]
        pooled = self.excite(self.squeeze(ops.concatenate(pooled, axis=1)))  # (B, poolings, ..., C)
        channel = ops.sigmoid(ops.sum(pooled, axis=1, keepdims=True))  # (B, 1, ..., C)
        x = x * channel
        gates = self.from_channels_last(channel)
        if self.spatial:
            pooled = [maximum(x, axis=-1, keepdims=True), mean(x, axis=-1, keepdims=True)]
            position = self.conv(ops.concatenate(pooled, axis=-1))  # (B, ..., 1)
            position = ops.sigmoid(self.norm(position, training=training))
            x = x * position
            gates = gates, self.from_channels_last(position)
        return self.result(self.from_channels_last(x), gates, return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape | tuple[Shape, Shape]:
        """Return the shapes of the two gates, or of the channel gate only."""
        channel = self.channel_gate_shape(input_shape)
        return (channel, self.position_gate_shape(input_shape)) if self.spatial else channel

    def torch_names(self) -> Schemes:
        """Name the parameters as Jongchan/attention-module does, or as timm does."""
        authors: TorchNames = {"ChannelGate.mlp.1": self.squeeze, "ChannelGate.mlp.3": self.excite}
        timm: TorchNames = {"channel.fc1": self.squeeze, "channel.fc2": self.excite}
        if self.spatial:
            authors |= {"SpatialGate.spatial.conv": self.conv, "SpatialGate.spatial.bn": self.norm}
            timm |= {"spatial.conv.conv.weight": self._mean_first(), "spatial.conv.bn": self.norm}
        return Schemes(authors=authors, timm=timm)

    def _mean_first(self) -> Entry:
        """Return the entry of a kernel whose inputs are the mean and then the maximum."""
        kernel = self.conv.kernel
        entry = transposed(kernel, (*range(2, len(kernel.shape)), 1, 0))
        return replace(entry, convert=lambda array: entry.convert(array[:, ::-1]))
