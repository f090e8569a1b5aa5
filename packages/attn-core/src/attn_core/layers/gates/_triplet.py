"""Triplet attention."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.maxima import maximum
from attn_core._ops.precision import mean
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes, transposed
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class TripletAttention(ImageLayer):
    r"""Triplet attention: averages three rescaled images, with one gate for each pair of axes.

    For each axis a of H, W and C, the maximum and the mean along a are computed, and a convolution
    over the other two axes computes a gate from them. The three images, each multiplied by its
    gate, are averaged:

    $$g_a = \sigma(\mathrm{BN}(\mathrm{conv}([\max\nolimits_a x, \mathrm{mean}_a\,x])))
    \qquad y = x \cdot \tfrac13 (g_H + g_W + g_C)$$

    The convolutions have no biases; the momentum of BN is 0.99.

    Args:
        kernel_size: Odd size of the three convolutions.
        spatial: Whether to use the third gate, over height and width; without it, y is the average
            of the other two.
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
        arXiv:2010.03045. The outputs are the same as those of landskape-ai/triplet-attention
        `TripletAttention` (`spatial=False` is its `no_spatial=True`).

    Differs from the paper:
        There is no difference in numbers: the paper, the released code and the External-Attention
        collection in PyTorch agree. The authors rotate the image before each reduction; here it is
        reduced along each axis without a rotation.
    """

    maps: ClassVar[tuple[Map, ...]] = (Gate(), Gate(), Gate())

    def __init__(
        self, kernel_size: int = 7, *, spatial: bool = True, **kwargs: Unpack[ImageArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)
        self.spatial: bool = checks.flag(self, "spatial", spatial)

    def build(self, input_shape: Shape) -> None:
        """Create a convolution and a batch normalization for each gate."""
        self.check_image(input_shape)
        names = ("channel_width", "height_channel", "height_width")[: 2 + self.spatial]
        pooled, scores = (None, None, None, 2), (None, None, None, 1)
        self.convolutions: list[Conv2D] = []
        self.norms: list[BatchNormalization] = []
        for name in names:
            convolution = child(
                self, Conv2D, 1, self.kernel_size, shape=pooled, use_bias=False, name=f"{name}_conv"
            )
            norm = child(  # 0.01 in the authors' PyTorch code
                self, BatchNormalization, shape=scores, momentum=0.99, name=f"{name}_norm"
            )
            self.convolutions.append(convolution)
            self.norms.append(norm)

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Average `x` gated for each pair of axes."""
        x = self.to_channels_last(x)
        gates = [self._gate(x, axis, training) for axis in range(1, 3 + self.spatial)]
        output = x * sum(gate / len(gates) for gate in gates)  # the sum is larger to divide
        maps = tuple(self.from_channels_last(gate) for gate in gates)
        return self.result(self.from_channels_last(output), maps, return_attention_scores)

    def _gate(self, x: Tensor, axis: int, training: bool | None) -> Tensor:
        """Compute the gate over two axes of `x`, which is reduced along the third, `axis`."""
        pooled = ops.stack([maximum(x, axis=axis), mean(x, axis=axis)], axis=-1)  # (B, _, _, 2)
        gate = self.convolutions[axis - 1](pooled)
        gate = ops.sigmoid(self.norms[axis - 1](gate, training=training))  # (B, _, _, 1)
        return ops.expand_dims(ops.squeeze(gate, -1), axis)

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, ...]:
        """Return the shapes of the gates."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        shapes = (
            (batch, 1, width, channels),
            (batch, height, 1, channels),
            (batch, height, width, 1),
        )
        return tuple(self.from_channels_last_shape(shape) for shape in shapes[: 2 + self.spatial])

    def torch_names(self) -> Schemes:
        """Name the parameters as landskape-ai/triplet-attention does.

        The names are those of its file `triplet_attention.py`, or of the file of that name in the
        folder `MODELS`, with which its networks were trained.
        """
        root = ("cw.conv", "hc.conv", "hw.conv")
        trained = ("ChannelGateH.spatial", "ChannelGateW.spatial", "SpatialGate.spatial")
        # Over (channels, width) there, over (width, channels) here.
        first = transposed(self.convolutions[0].kernel, (3, 2, 1, 0))
        schemes = Schemes()
        for scheme, gates in (("authors", root), ("authors' networks", trained)):
            names: TorchNames = {f"{gates[0]}.conv.weight": first}
            for index, norm in enumerate(self.norms):
                names[f"{gates[index]}.bn"] = norm
                if index:
                    names[f"{gates[index]}.conv"] = self.convolutions[index]
            schemes[scheme] = names
        return schemes
