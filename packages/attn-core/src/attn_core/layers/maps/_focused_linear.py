"""Focused linear attention."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import merge_heads, split_heads
from attn_core._ops.convolution import conv2d
from attn_core._ops.linear import attend_linearly
from attn_core._ops.patches import resize
from attn_core._ops.precision import upcast
from attn_core._ops.tokens import to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.layers.maps._reduced import ReducedImageLayer


@keras.saving.register_keras_serializable(package="attn_core")
class FocusedLinearAttention(ReducedImageLayer):
    r"""Focused linear attention: linear attention whose feature map concentrates the weights.

    The feature map f raises the entries of queries and keys to a power, so that the largest entries
    dominate, and keeps the length of the vectors. A depthwise convolution of the values, with one
    kernel for all heads, is added:

    $$y = W_o\,\bigg(\frac{f(Q)\,\sum_j f(K_j)\, V_j^\top / n}
        {f(Q) \cdot \sum_j f(K_j) / n + 10^{-6}} + \mathrm{DW}_{k \times k} * V\bigg), \qquad
    f(t) = \frac{\lVert u \rVert}{\lVert u^p \rVert}\,u^p, \quad
    u = \frac{\mathrm{relu}(t) + 10^{-6}}{\mathrm{softplus}(s)}$$

    The norms are over all C channels, before they are split into heads; the scale s is one number
    for each channel. Before this, a learned vector for each position is added to K. Keys and values
    are multiplied first, so the cost is linear in the number of positions, and there is no matrix
    of all pairs. With `sr_ratio` r > 1, a convolution with stride r makes the image smaller before
    keys and values are computed.

    Args:
        num_heads: Number of heads.
        focusing_factor: The power p.
        kernel_size: Odd size k of the depthwise convolution.
        sr_ratio: Spatial reduction r of keys and values; 1 = none.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are fixed once the layer is built.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If an argument is out of its range, C is not a multiple of `num_heads`, or the
            input is not an image of known height and width, multiples of `sr_ratio`.

    Example:
        >>> import numpy as np
        >>> FocusedLinearAttention(num_heads=4)(np.ones((2, 14, 10, 32))).shape
        (2, 14, 10, 32)

    Reference:
        arXiv:2308.00442. The outputs and the names of the parameters are the same as those of
        LeapLabTHU/FLatten-Transformer `FocusedLinearAttention` of `flatten_pvt.py`.

    Differs from the paper:
        As in the released code, the scale s, the vectors of the positions and 1e-6 are added to the
        paper's formula. If `sr_ratio` is above 1, the values are resized before the convolution; as
        in the released code, they are interpolated linearly along the sequence of all tokens, not
        as an image. The dropout of attention in that code has no effect, and is left out. The
        published networks set `qkv_bias=True`.
    """

    def __init__(
        self,
        num_heads: int = 8,
        *,
        focusing_factor: float = 3,
        kernel_size: int = 5,
        sr_ratio: int = 1,
        qkv_bias: bool = False,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(num_heads, sr_ratio, qkv_bias, **kwargs)
        self.focusing_factor: float = checks.positive(self, "focusing_factor", focusing_factor)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps, the convolution, the scale and the vectors of the positions."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        self._build_maps(height, width, channels)
        head = channels // self.num_heads
        self.local: Conv2D = child(
            self,
            Conv2D,
            head,
            self.kernel_size,
            shape=(None, None, None, head),
            groups=head,
            name="local",
        )
        rows, columns = self.source_size
        # autocast=False: features are computed in float32.
        self.scale: keras.Variable = self.add_weight(
            (1, 1, channels), "zeros", name="scale", autocast=False
        )
        self.places: keras.Variable = self.add_weight(
            (1, rows * columns, channels), "zeros", name="places", autocast=False
        )

    def call(self, x: Tensor) -> Tensor:
        """Average the values, weighted by the features of keys and queries."""
        image = self.to_channels_last(x)
        query = to_tokens(self.query(image))  # (B, H * W, C)
        key, value = ops.split(self._keys_and_values(image), 2, axis=-1)  # (B, keys, C) each
        output = attend_linearly(
            split_heads(self._features(upcast(query)), self.num_heads),
            split_heads(self._features(upcast(key) + self.places), self.num_heads),
            split_heads(value, self.num_heads),
            epsilon=1e-6 * key.shape[1],  # of the sum; the formula's is of the mean over the keys
        )
        output = to_image(merge_heads(output), *self.size) + self._convolve(value)
        return self.result(self.from_channels_last(self.project(output)), None, False)

    def _features(self, x: Tensor) -> Tensor:
        """Return f of tokens `(B, N, C)`, in float32."""
        x = (ops.relu(x) + 1e-6) / ops.softplus(self.scale)
        # f does not depend on the length of what is raised to the power: this keeps it in range.
        powers = (x / ops.stop_gradient(ops.max(x, axis=-1, keepdims=True))) ** self.focusing_factor
        return powers * (_norm(x) / _norm(powers))

    def _convolve(self, value: Tensor) -> Tensor:
        """Convolve the values of each head with the same kernel: `(B, H, W, C)`."""
        height, width = self.size
        tokens = ops.expand_dims(value, 2)  # (B, keys, 1, C)
        value = to_image(resize(tokens, (height * width, 1)), height, width)
        # Not tiled: of a tiled kernel, PyTorch's exporter to ONNX does not know the shape.
        kernel = ops.concatenate([self.local.kernel] * self.num_heads, axis=-1)
        bias = ops.concatenate([self.local.bias] * self.num_heads)
        return conv2d(value, kernel) + ops.cast(bias, value.dtype)

    def torch_names(self) -> TorchNames:
        """Name the parameters as LeapLabTHU/FLatten-Transformer does."""
        return super().torch_names() | {
            "dwc": self.local,
            "scale": self.scale,
            "positional_encoding": self.places,
        }


def _norm(x: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))
