"""Gather-excite."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.entries import take
from attn_core._ops.pooling import average_pool
from attn_core._ops.precision import mean, upcast
from attn_core._ops.tokens import spatial
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes, transposed
from attn_core.layers._base import ANY_SPACE, ImageLayer, Split
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class GatherExciteAttention(ImageLayer):
    r"""Gather-excite: rescales each value by a gate computed from a region around it.

    The gather step reduces each channel to one number for every region of `extent` positions, or
    for the whole image. The excite step mixes the channels of these numbers and computes the gates
    from them:

    $$g = \mathrm{gather}(x), \qquad
    y = x \cdot \sigma(\mathrm{up}(W_2\,\mathrm{relu}(W_1\,g + b_1) + b_2))$$

    The gather step is

    - without `extra_params`, the mean over the image (`extent=0`), or over windows of size 2E - 1
      with stride E = `extent`; positions outside the image do not count;
    - with `extra_params` and `extent=0`, a depthwise convolution as large as the image, without
      padding, and batch normalization;
    - with `extra_params` and an extent E that is a power of two, $\log_2 E$ depthwise 3x3
      convolutions of stride 2, each with batch normalization, and a relu between them.

    None of the convolutions has a bias. With `use_mlp` and `extra_params` a relu follows the gather
    step. up resizes these h x w numbers, with h = ceil(H / E) and w = ceil(W / E), to the size of
    the image by nearest neighbour: row i of the H rows is row floor(i h / H) of the h rows.

    Args:
        extent: Size of a region; 0 = the whole image, otherwise even, and a power of two with
            `extra_params`.
        extra_params: Whether the gather step has weights.
        use_mlp: Whether the excite step mixes the channels with $W_1$ and $W_2$; otherwise it is
            only the sigmoid.
        reduction: Factor by which the hidden width is smaller than C; the width is
            `max(1, C // reduction)`.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic, but are fixed once the
            layer is built with `extra_params=True` and `extent=0`. Signals, `(B, T, C)`, and
            volumes, `(B, D, H, W, C)`, are accepted too, with `extent=0`.
        training: Whether batch normalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate, `(B, 1, 1,
        C)` or `(B, C, 1, 1)` with `extent=0`, otherwise of the input's shape.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image, signal or
            volume of a known number of channels, and of a known size where the weights depend on
            it.

    Example:
        >>> import numpy as np
        >>> GatherExciteAttention(extent=4, extra_params=True)(np.ones((2, 14, 9, 32))).shape
        (2, 14, 9, 32)

    Reference:
        arXiv:1810.12348. The outputs are the same as those of timm's `GatherExcite`. Where timm
        differs from the authors' Caffe networks (hujie-frank/GENet), they are the same as those of
        the authors.

    Differs from the paper:
        The two layers of the excite step have biases. Timm pads the convolution over the whole
        image, so that its result is not 1x1; it has no relu before the excite step, and it rounds
        the hidden width to the nearest integer. In all this, the layer follows the authors'
        networks. In timm 1.0.31 only the form without any weights can be created.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Gate(),)
    split: ClassVar[dict[str, Split]] = {"excite": "inputs"}

    def __init__(
        self,
        extent: int = 0,
        *,
        extra_params: bool = False,
        use_mlp: bool = True,
        reduction: int = 16,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.extent: int = checks.integer(self, "extent", extent, minimum=0)
        self.extra_params: bool = checks.flag(self, "extra_params", extra_params)
        self.use_mlp: bool = checks.flag(self, "use_mlp", use_mlp)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        if self.extent % 2:
            raise checks.error(self, "`extent` must be 0 or even.", f"extent={extent}")
        if self.extent:  # windows of two axes
            self.spatial_axes = (2,)
        if self.extra_params and self.extent & (self.extent - 1):
            message = "`extent` must be 0 or a power of two with `extra_params=True`."
            raise checks.error(self, message, f"extent={extent}")

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions of the gather and the dense layers of the excite."""
        of_image = self.extra_params and self.extent == 0
        channels = self.check_channels(input_shape, fixed_size=of_image)
        shape = (None,) * (len(input_shape) - 1) + (channels,)
        self.convolutions: list[Conv2D] = []
        self.norms: list[BatchNormalization] = []
        if of_image:
            self.kernel: keras.Variable = self.add_weight(
                shape=self.channels_last_shape(input_shape)[1:],
                autocast=False,  # it sums over the whole image, in float32
                name="kernel",
            )
        elif self.extra_params:
            for index in range(self.extent.bit_length() - 1):
                convolution = child(
                    self,
                    Conv2D,
                    channels,
                    3,
                    shape=shape,
                    strides=2,
                    groups=channels,
                    use_bias=False,
                    name=f"gather_{index}",
                )
                self.convolutions.append(convolution)
        for index in range(len(self.convolutions) or of_image):
            name = f"gather_{index}_norm"
            self.norms.append(child(self, BatchNormalization, shape=shape, name=name))
        if self.use_mlp:
            hidden = max(1, channels // self.reduction)
            self.squeeze: keras.layers.Dense = dense(
                self, channels, hidden, "squeeze", activation="relu"
            )
            self.excite: keras.layers.Dense = dense(self, hidden, channels, "excite")

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Rescale every value of `x`."""
        x = self.to_channels_last(x)
        gate = self._gather(x, training)  # (B, h, w, C), or (B, 1, ..., C)
        if self.use_mlp:
            gate = self.excite(self.squeeze(gate))
        gate = ops.sigmoid(gate)
        if self.extent:
            gate = enlarge(gate, *ops.shape(x)[1:3])  # (B, H, W, C)
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def _gather(self, x: Tensor, training: bool | None) -> Tensor:
        """Return one number for each region and channel, `(B, h, w, C)`."""
        if not self.extra_params:
            over_image = self.extent == 0
            return mean(x, spatial(x), keepdims=True) if over_image else means(x, self.extent)
        if self.extent == 0:
            x = ops.sum(ops.multiply(upcast(x), self.kernel), axis=spatial(x), keepdims=True)
            x = self.norms[0](x, training=training)
        for index, convolution in enumerate(self.convolutions):
            x = ops.relu(x) if index else x
            x = self.norms[index](convolution(x), training=training)
        return ops.relu(x) if self.use_mlp else x

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate."""
        return tuple(input_shape) if self.extent else self.channel_gate_shape(input_shape)

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does."""
        names: TorchNames = {f"gather.norm{i}": norm for i, norm in enumerate(self.norms, 1)}
        names |= {f"gather.conv{i}": conv for i, conv in enumerate(self.convolutions, 1)}
        if self.extra_params and self.extent == 0:
            last = len(self.kernel.shape) - 1
            names |= {"gather.conv1.weight": transposed(self.kernel, (*range(1, last + 1), 0))}
        if self.use_mlp:
            names |= {"mlp.fc1": self.squeeze, "mlp.fc2": self.excite}
        return Schemes(timm=names)


def means(x: Tensor, extent: int) -> Tensor:
    """Return the means of `(B, H, W, C)` over windows of 2 extent - 1, `extent` apart.

    The first window has its middle on the first position. Positions outside the image do not count.
    """

    def pooled(image: Tensor) -> Tensor:
        return average_pool(image, 2 * extent - 1, extent, extent - 1)

    precise = upcast(x)
    inside = pooled(ops.ones_like(precise[:1, :, :, :1]))  # the part that lies in the image
    return ops.cast(pooled(precise) / inside, x.dtype)


def enlarge(x: Tensor, height: Any, width: Any) -> Tensor:
    """Resize `(B, h, w, C)` to a height and width: row i takes row floor(i h / height)."""
    for axis, length in ((1, height), (2, width)):
        x = take(x, ops.arange(length) * ops.shape(x)[axis] // length, axis=axis)
    return x
