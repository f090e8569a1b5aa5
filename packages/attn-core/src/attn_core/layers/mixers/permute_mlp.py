"""Weighted permute MLP (Vision Permutator)."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.precision import mean, softmax


@keras.saving.register_keras_serializable(package="attn_core")
class WeightedPermuteMLP(ImageLayer):
    r"""Weighted permute MLP: linear maps along height, width and channels, weighed and added.

    The channels form `segment_dim` segments of S; one linear map mixes the H * S numbers of each
    column and segment, one the W * S of each row and segment, one the C of each position. A small
    network weighs the three by what the whole image holds:

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
        ValueError: If an argument is out of its range, the input is not an image of known height,
            width and number of channels, or C is not a multiple of `segment_dim`.

    Example:
        >>> import numpy as np
        >>> WeightedPermuteMLP(segment_dim=8)(np.ones((2, 7, 5, 32))).shape
        (2, 7, 5, 32)

    Reference:
        Hou, Jiang, Yuan, Cheng, Yan, Feng, "Vision Permutator: A Permutable MLP-Like Architecture
        for Visual Recognition", TPAMI 2022, arXiv:2106.12368; numbers as houqb/VisionPermutator
        `WeightedPermuteMLP`.

    Differs from the paper:
        The authors need H = W = `segment_dim`, so that each of the three maps is C to C; here the
        map along height is square of width H * S, that along width of W * S. In the PyTorch
        collection the weighing network has dropout of its own; in the TensorFlow one, the branch
        of the width mixes the height once more.
    """

    def __init__(
        self, segment_dim: int = 8, *, qkv_bias: bool = False, dropout: float = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.segment_dim = self.integer("segment_dim", segment_dim)
        self.qkv_bias = self.flag("qkv_bias", qkv_bias)
        self.dropout = self.rate("dropout", dropout)

    def build(self, input_shape):
        """Create the three maps, the network that weighs them and the projection."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        self.segment_width = self.divisible(
            "the number of channels", channels, "segment_dim", self.segment_dim
        )
        self.size = (height, width)

        def dense(name, inputs, outputs, **options):
            layer = keras.layers.Dense(outputs, name=name, dtype=self.dtype_policy, **options)
            layer.build((None, inputs))
            return layer

        along_height, along_width = height * self.segment_width, width * self.segment_width
        self.height = dense("height", along_height, along_height, use_bias=self.qkv_bias)
        self.width = dense("width", along_width, along_width, use_bias=self.qkv_bias)
        self.channels = dense("channels", channels, channels, use_bias=self.qkv_bias)
        hidden = channels // 4 or channels  # as the authors' Mlp: no width means the input's
        self.squeeze = dense("squeeze", channels, hidden, activation="gelu")
        self.excite = dense("excite", hidden, channels * 3)
        self.project = dense("project", channels, channels)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)

    def call(self, x, training=None):
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

    def _mix(self, x, dense, axes):
        """Apply `dense` to each segment, along the axis that `axes` swaps with the segments."""
        segments = (-1, *self.size, self.segment_dim, self.segment_width)
        x = ops.transpose(ops.reshape(x, segments), axes)  # (B, D, W, H, S) or (B, H, D, W, S)
        swapped = (-1, *x.shape[1:])
        x = dense(ops.reshape(x, (*swapped[:3], swapped[3] * swapped[4])))
        x = ops.transpose(ops.reshape(x, swapped), axes)  # (B, H, W, D, S)
        return ops.reshape(x, (-1, *self.size, self.segment_dim * self.segment_width))

    def torch_names(self) -> dict:
        """Name the parameters as houqb/VisionPermutator does."""
        return {
            "mlp_c": self.channels,
            "mlp_h": self.height,
            "mlp_w": self.width,
            "reweight.fc1": self.squeeze,
            "reweight.fc2": self.excite,
            "proj": self.project,
        }
