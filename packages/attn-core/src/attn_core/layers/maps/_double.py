"""Double attention."""

from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import softmax
from attn_core._ops.tokens import size, to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer, positions
from attn_core.layers._children import dense
from attn_core.layers._maps import Attention


@keras.saving.register_keras_serializable(package="attn_core")
class DoubleAttention(ImageLayer):
    r"""Double attention: gathers global features, and distributes them to all positions.

    The first attention reduces all positions to `num_maps` global features; the second computes for
    every position a weighted sum of these features. The cost of both grows with N, not with $N^2$:

    $$Z = \mathrm{softmax}_m(V)\,G, \quad G = \mathrm{softmax}_n(B)^\top A, \quad
    y = Z W_r + b_r$$

    where A, B and V are linear maps of the input, n runs over the N = HW positions and m over the
    maps.

    Args:
        feature_dim: Width of the features A; `None` = C / 4.
        num_maps: Number of maps in B and in V; `None` = C / 4.
        reconstruct: Whether a linear map projects the features back to C channels.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the two attention maps too.

    Returns:
        Image of the input's height and width and C channels, or `feature_dim` with
        `reconstruct=False`; with `return_attention_scores=True` also a tuple of the map that
        gathers, `(B, 1, num_maps, H * W)`, and the map that distributes, `(B, 1, H * W, num_maps)`.

    Raises:
        ValueError: If an argument is out of range, the input is not an image, signal or volume of a
            known number of channels, or C is not a multiple of 4 and `feature_dim` or `num_maps` is
            not given.

    Example:
        >>> import numpy as np
        >>> DoubleAttention(num_maps=4)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1810.11579. The reference outputs were computed from equations 2 to 4 of the paper.
        The names of the parameters are those of xmu-xiaoma666/External-Attention-pytorch
        `DoubleAttention`.

    Differs from the paper:
        There is no difference. Of the External-Attention collections, the one in PyTorch applies
        both softmaxes over the batch; the one in TensorFlow applies the first over the maps, and
        mixes positions with channels.
    """

    spatial_axes = ANY_SPACE
    maps = (Attention("", "map"), Attention("", keys="map"))
    split = {"project": "inputs"}

    def __init__(
        self,
        feature_dim: int | None = None,
        num_maps: int | None = None,
        *,
        reconstruct: bool = True,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.feature_dim: int | None = checks.optional(
            checks.integer, self, "feature_dim", feature_dim
        )
        self.num_maps: int | None = checks.optional(checks.integer, self, "num_maps", num_maps)
        self.reconstruct: bool = checks.flag(self, "reconstruct", reconstruct)

    def _width(self, name: str, channels: int) -> int:
        """Return the argument `name`, or its default for a number of channels."""
        value = getattr(self, name)
        if value is None and channels % 4:
            raise checks.error(
                self,
                f"`{name}` must be given where the number of channels is not a multiple of 4.",
                f"{name}=None, {channels} channels",
            )
        return channels // 4 if value is None else value

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps."""
        channels = self.check_channels(input_shape)
        width, maps = self._width("feature_dim", channels), self._width("num_maps", channels)
        self.feature: keras.layers.Dense = dense(self, channels, width, "feature")
        self.gather: keras.layers.Dense = dense(self, channels, maps, "gather")
        self.distribute: keras.layers.Dense = dense(self, channels, maps, "distribute")
        if self.reconstruct:
            self.project: keras.layers.Dense = dense(self, width, channels, "project")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Gather features of `x` and distribute them."""
        x = self.to_channels_last(x)
        lengths = size(x)
        x = to_tokens(x)  # (B, N, C)

        gather = softmax(ops.transpose(self.gather(x), (0, 2, 1)))  # (B, maps, N), over N
        distribute = softmax(self.distribute(x))  # (B, N, maps), over the maps
        features = ops.matmul(gather, self.feature(x))  # (B, maps, feature_dim)
        output = ops.matmul(distribute, features)  # (B, N, feature_dim)
        if self.reconstruct:
            output = self.project(output)  # (B, N, C)
        output = to_image(output, *lengths)
        attention = ops.expand_dims(gather, 1), ops.expand_dims(distribute, 1)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape."""
        *outer, channels = self.channels_last_shape(input_shape)
        if not self.reconstruct:
            channels = self._width("feature_dim", channels)
        return self.from_channels_last_shape((*outer, channels))

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the two attention maps."""
        batch, *lengths, channels = self.channels_last_shape(input_shape)
        tokens, maps = positions(*lengths), self._width("num_maps", channels)
        return (batch, 1, maps, tokens), (batch, 1, tokens, maps)

    def torch_names(self) -> TorchNames:
        """Name the parameters as xmu-xiaoma666/External-Attention-pytorch does."""
        names = {"convA": self.feature, "convB": self.gather, "convV": self.distribute}
        return names | ({"conv_reconstruct": self.project} if self.reconstruct else {})
