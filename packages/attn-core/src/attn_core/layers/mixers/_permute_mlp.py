"""Weighted permute MLP (Vision Permutator)."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean, softmax
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout


@keras.saving.register_keras_serializable(package="attn_core")
class WeightedPermuteMLP(ImageLayer):
    r"""Weighted permute MLP: a weighted sum of linear maps along height, width and channels.

    The channels are split into `segment_dim` segments of S channels. The first linear map mixes the
    H * S numbers of each column and segment, and gives h; the second mixes the W * S numbers of
    each row and segment, and gives w; the third mixes the C numbers of each position, and gives c.
    From the average over the image, a small network computes the weights of the three:

    $$a = \mathrm{softmax}_3(W_2\,\mathrm{gelu}(W_1\,\mathrm{mean}_{hw}(h + w + c))) \qquad
    y = W(a_1 \cdot h + a_2 \cdot w + a_3 \cdot c)$$

    Args:
        segment_dim: Number of segments; C must be a multiple of it.
        qkv_bias: Whether the three linear maps have biases.
        dropout: Rate of dropout on the output.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are fixed once the layer is built.
        training: Whether dropout acts.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If an argument is out of range, the input is not an image of known height, width
            and number of channels, or C is not a multiple of `segment_dim`.

    Example:
        >>> import numpy as np
        >>> WeightedPermuteMLP(segment_dim=8)(np.ones((2, 7, 5, 32))).shape
        (2, 7, 5, 32)

    Reference:
        arXiv:2106.12368. The outputs are the same as those of houqb/VisionPermutator
        `WeightedPermuteMLP`.

    Differs from the paper:
        The authors' code requires H = W = `segment_dim`, so that each of the three maps is C to C.
        Here the map along the height is H * S to H * S, and the one along the width W * S to W * S.
        In the External-Attention collection in PyTorch the network that computes the weights has
        dropout, and the weights of the height and of the channels are exchanged; in the one in
        TensorFlow the branch of the width mixes along the height again.
    """

    split = {"excite": "inputs", "project": "inputs"}

    def __init__(
        self,
        segment_dim: int = 8,
        *,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.segment_dim: int = checks.integer(self, "segment_dim", segment_dim)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the three maps, the network that computes their weights and the projection."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        self.segment_width: int = checks.divisible(
            self, "the number of channels", channels, "segment_dim", self.segment_dim
        )
        self.size: tuple[int, int] = (height, width)

        def mix(length: int, name: str) -> keras.layers.Dense:
            return dense(self, length, length, name, use_bias=self.qkv_bias)

        self.height: keras.layers.Dense = mix(height * self.segment_width, "height")
        self.width: keras.layers.Dense = mix(width * self.segment_width, "width")
        self.channels: keras.layers.Dense = mix(channels, "channels")
        hidden = channels // 4 or channels  # the authors' Mlp takes a width of 0 as not given
        self.squeeze: keras.layers.Dense = dense(
            self, channels, hidden, "squeeze", activation="gelu"
        )
        self.excite: keras.layers.Dense = dense(self, hidden, channels * 3, "excite")
        self.project: keras.layers.Dense = dense(self, channels, channels, "project")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=input_shape, name="drop")

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Mix `x` along its three axes."""
        x = self.to_channels_last(x)
        height = self._mix(x, self.height, (0, 3, 2, 1, 4))
        width = self._mix(x, self.width, (0, 1, 3, 2, 4))
        channels = self.channels(x)  # (B, H, W, C), as the other two
        weights = self.excite(self.squeeze(mean(height + width + channels, axis=(1, 2))))
        weights = softmax(ops.reshape(weights, (-1, 1, 1, x.shape[-1], 3)))
        a, b, c = ops.unstack(weights, 3, axis=-1)  # (B, 1, 1, C) each
        output = self.project(height * a + width * b + channels * c)
        return self.from_channels_last(self.drop(output, training=training))

    def _mix(self, x: Tensor, layer: keras.layers.Dense, axes: tuple[int, ...]) -> Tensor:
        """Apply `layer` to each segment, along the axis that `axes` swaps with the segments."""
        segments = (-1, *self.size, self.segment_dim, self.segment_width)
        x = ops.transpose(ops.reshape(x, segments), axes)  # (B, D, W, H, S) or (B, H, D, W, S)
        swapped = (-1, *x.shape[1:])
        x = layer(ops.reshape(x, (*swapped[:3], swapped[3] * swapped[4])))
        x = ops.transpose(ops.reshape(x, swapped), axes)  # (B, H, W, D, S)
        return ops.reshape(x, (-1, *self.size, self.segment_dim * self.segment_width))

    def torch_names(self) -> TorchNames:
        """Name the parameters as houqb/VisionPermutator does."""
        return {
            "mlp_c": self.channels,
            "mlp_h": self.height,
            "mlp_w": self.width,
            "reweight.fc1": self.squeeze,
            "reweight.fc2": self.excite,
            "proj": self.project,
        }
