"""ACmix: attention and convolution from the same projections."""

from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import softmax, upcast
from attn_core._ops.windows import neighbours
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, Split, positions
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Attention, Map


@keras.saving.register_keras_serializable(package="attn_core")
class ACmix(ImageLayer):
    r"""ACmix: the sum of attention in windows and a convolution, computed from the same q, k and v.

    q, k and v are linear maps of the pixels. In the first part, each position attends to a window
    around it; the scores also use a linear map p of the coordinates in the image:

    $$a_i = \sum_j \mathrm{softmax}_j\Big(\frac{q_i \cdot (k_j + p_i - p_j)}{\sqrt d}\Big)\, v_j,
        \quad y = r_1 a + r_2\, \mathrm{conv}(q, k, v)$$

    for each head; at the border, the image is mirrored. The second part treats each of the d
    channels of a head separately. For each of them, a linear map computes nine numbers from the q,
    k and v of all heads, and a 3 x 3 convolution, with one group for each of the d channels, shifts
    and adds them. Its kernels are initialised to the nine shifts, and the learned rates r to 0.5.

    Args:
        num_heads: Number of heads; divides `output_dim`.
        output_dim: Number of output channels; `None` = C.
        kernel_size: Odd size of the windows.
        strides: Factor by which height and width become smaller; only every strides-th pixel is a
            query.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image, `(B, H / strides, W / strides, output_dim)`, or `(B, output_dim, H / strides,
        W / strides)`; with `return_attention_scores=True` also the map, `(B, num_heads, queries,
        kernel_size * kernel_size)` in both data formats, pixels in the order of rows, then columns.

    Raises:
        ValueError: If an argument is out of its range, `num_heads` does not divide the output
            channels, H or W is not a multiple of `strides` or does not exceed `kernel_size` // 2,
            or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> ACmix(num_heads=4)(np.ones((2, 14, 14, 32))).shape
        (2, 14, 14, 32)

    Reference:
        arXiv:2111.14556. The outputs are the same as those of LeapLabTHU/ACmix
        `ResNet/test_bottleneck.py` `ACmix`.

    Differs from the paper:
        As in the released code, the channels of the attention are in the order of the
        heads, while those of the convolution are in the order of the channels within a head; the
        two are added without a reordering.
    """

    one_column = False
    maps: ClassVar[tuple[Map, ...]] = (Attention(keys="neighbour"),)
    split: ClassVar[dict[str, Split]] = {
        "query": "heads",
        "key": "heads",
        "value": "heads",
        "position": "whole",
        "join": "whole",
        "shift": "whole",
    }

    def __init__(
        self,
        num_heads: int = 4,
        *,
        output_dim: int | None = None,
        kernel_size: int = 7,
        strides: int = 1,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.output_dim: int | None = checks.optional(
            checks.integer, self, "output_dim", output_dim
        )
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)
        self.strides: int = checks.integer(self, "strides", strides)

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps, the convolution and the rates."""
        height, width, channels = self.check_image(input_shape)
        self._check_size(height, width)
        outputs = self._outputs = self.output_dim or channels
        heads = self.num_heads
        self._width = checks.divisible(self, "output_dim", outputs, "num_heads", heads)
        self.query: keras.layers.Dense = dense(self, channels, outputs, "query")
        self.key: keras.layers.Dense = dense(self, channels, outputs, "key")
        self.value: keras.layers.Dense = dense(self, channels, outputs, "value")
        self.position: keras.layers.Dense = dense(self, 2, self._width, "position")
        self.join: keras.layers.Dense = dense(self, 3 * heads, 9, "join", use_bias=False)
        self.shift: Conv2D = child(
            self,
            Conv2D,
            outputs,
            3,
            strides=self.strides,
            groups=self._width,
            use_bias=False,
            kernel_initializer=_shifts,
            shape=(None, None, None, 9 * self._width),
            name="shift",
        )
        self.attention_rate: keras.Variable = self.add_weight(
            shape=(1,), initializer=keras.initializers.Constant(0.5), name="attention_rate"
        )
        self.convolution_rate: keras.Variable = self.add_weight(
            shape=(1,), initializer=keras.initializers.Constant(0.5), name="convolution_rate"
        )

    def _check_size(self, *size: int | None) -> None:
        for what, length in zip(("the height", "the width"), size, strict=True):
            if length is None:
                continue
            checks.divisible(self, what, length, "strides", self.strides)
            if length <= self.kernel_size // 2:
                message = f"{what} must exceed kernel_size // 2 = {self.kernel_size // 2}."
                raise checks.error(self, message, f"{what} = {length}")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Attend to windows of `x`, convolve it, and add."""
        x = self.to_channels_last(x)
        self._check_size(*x.shape[1:3])
        query, key, value = self.query(x), self.key(x), self.value(x)
        attended, attention = self._attend(query, key, value)
        convolved = self._convolve(query, key, value)
        output = attended * self.attention_rate + convolved * self.convolution_rate
        if return_attention_scores:
            attention = ops.transpose(attention, (0, 2, 1, 3))
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attention to the windows, and its map, `(B, queries, heads, keys)`."""
        height, width = ops.shape(key)[1:3]
        queries = query[:, :: self.strides, :: self.strides]
        rows, columns = ops.shape(queries)[1:3]
        per_query = (-1, rows * columns, self.num_heads, self._width)
        # The place of the query adds the same number to all its scores: it has no part in them.
        place = ops.tile(self._places(height, width), (1, 1, self.num_heads))
        keys, values = (
            ops.stack([ops.reshape(one, per_query) for one in around], axis=3)
            for around in (
                neighbours(key - place, self.kernel_size, self.strides, mirror=True),
                neighbours(value, self.kernel_size, self.strides, mirror=True),
            )
        )  # (B, queries, heads, keys, d)
        queries = upcast(ops.reshape(queries, per_query)) * self._width**-0.5
        scores = ops.matmul(
            upcast(keys), ops.expand_dims(queries, 4)
        )  # (B, queries, heads, keys, 1)
        attention = ops.transpose(softmax(scores, axis=3), (0, 1, 2, 4, 3))
        attention = ops.cast(attention, value.dtype)
        output = ops.reshape(ops.matmul(attention, values), (-1, rows, columns, self._outputs))
        return output, ops.squeeze(attention, 3)

    def _places(self, height: int | Tensor, width: int | Tensor) -> Tensor:
        """Return the linear map of the coordinates, `(H, W, d)`."""
        rows, columns = (
            ops.cast(ops.arange(0, length, dtype="int32"), "float32")
            * (2 / ops.cast(ops.maximum(length - 1, 1), "float32"))
            - 1
            for length in (height, width)
        )
        shape = (height, width)
        rows = ops.broadcast_to(ops.expand_dims(rows, 1), shape)
        columns = ops.broadcast_to(ops.expand_dims(columns, 0), shape)
        return self.position(ops.cast(ops.stack([columns, rows], axis=2), self.compute_dtype))

    def _convolve(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the convolution of all three, `(B, H / strides, W / strides, output_dim)`."""
        height, width = ops.shape(query)[1:3]
        joint = ops.concatenate([query, key, value], axis=3)
        joint = ops.reshape(joint, (-1, height, width, 3 * self.num_heads, self._width))
        joint = self.join(ops.transpose(joint, (0, 1, 2, 4, 3)))  # (B, H, W, d, 9)
        return self.shift(ops.reshape(joint, (-1, height, width, 9 * self._width)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape, divided by the strides, with `output_dim` channels."""
        batch, *size, channels = self.channels_last_shape(input_shape)
        size = [None if length is None else length // self.strides for length in size]
        return self.from_channels_last_shape((batch, *size, self.output_dim or channels))

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention map."""
        batch, *size, _ = self.channels_last_shape(input_shape)
        rows, columns = (None if length is None else length // self.strides for length in size)
        return batch, self.num_heads, positions(rows, columns), self.kernel_size**2

    def torch_names(self) -> TorchNames:
        """Name the parameters as LeapLabTHU/ACmix does."""
        return {
            "rate1": self.attention_rate,
            "rate2": self.convolution_rate,
            "conv1": self.query,
            "conv2": self.key,
            "conv3": self.value,
            "conv_p": self.position,
            "fc": self.join,
            "dep_conv": self.shift,
        }


def _shifts(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    """Return the kernel `(3, 3, 9, filters)` that shifts each of nine inputs and adds them."""
    kernel = np.broadcast_to(np.eye(9).reshape(3, 3, 9, 1), shape)
    return ops.convert_to_tensor(kernel, dtype)
