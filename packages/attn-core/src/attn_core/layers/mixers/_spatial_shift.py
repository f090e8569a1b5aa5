"""Spatial-shift attention (S2-MLPv2)."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import softmax, upcast
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dense import Dense
from attn_core.layers._maps import Branches, Map


@keras.saving.register_keras_serializable(package="attn_core")
class S2Attention(ImageLayer):
    r"""Spatial-shift attention: shifts quarters of the channels, and weights three versions.

    A linear map computes three versions of the image. In the first version, the four quarters of
    the channels are shifted by one position: down, up, right and left. In the second they are
    shifted right, left, down and up. The third is not shifted. Split attention computes the weight
    of each version in each channel:

    $$[x_1, x_2, x_3] = W_1 x \qquad z_1 = S(x_1) \quad z_2 = S'(x_2) \quad z_3 = x_3$$

    $$a = \mathrm{softmax}_3(V_2\,\mathrm{gelu}(V_1 \textstyle\sum_{k,h,w} z_k)) \qquad
    y = W_2 \textstyle\sum_k a_k \cdot z_k$$

    Args:
        reduction: Factor by which the hidden width of split attention is smaller than C; the width
            is `max(1, C // reduction)`.
        use_bias: Whether W1 and W2 have biases.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`, C a multiple of 4; H and W may be dynamic.
        return_attention_scores: Whether to return the weights of the three versions too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the weights,
        `(B, 3, C)`.

    Raises:
        ValueError: If `reduction` is not a positive integer, or the input is not an image of a
            known number of channels, a multiple of 4.

    Example:
        >>> import numpy as np
        >>> S2Attention(reduction=4)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:2108.01072. The reference outputs were computed from the paper's equations, because no
        code was released. The names of the parameters are those of its listing.

    Differs from the paper:
        The listing assigns slices in place. Here, as in the equations, every value comes from the
        image before the shift, and the border keeps its own value. The External-Attention
        collection in PyTorch shifts in place, which copies the first row and column over the whole
        image, and its split attention always has the width 512. The class of the collection in
        TensorFlow is empty.
    """

    split = {"excite": "inputs", "project": "inputs"}

    maps: ClassVar[tuple[Map, ...]] = (Branches(),)

    def __init__(
        self, reduction: int = 4, *, use_bias: bool = True, **kwargs: Unpack[ImageArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)

    def build(self, input_shape: Shape) -> None:
        """Create the two outer linear maps and the two of split attention."""
        _, _, channels = self.check_image(input_shape)
        checks.divisible(self, "the number of channels", channels, "the number of directions", 4)
        hidden = max(1, channels // self.reduction)
        # The inputs of split attention are sums over all positions: too large for half precision
        # or int8.
        wide = "float64" if self.variable_dtype == "float64" else "float32"
        inner = {"use_bias": False, "quantizable": False, "dtype": wide}
        self.expand: keras.layers.Dense = dense(
            self, channels, channels * 3, "expand", use_bias=self.use_bias
        )
        self.squeeze: Dense = child(
            self, Dense, hidden, shape=(None, channels), name="squeeze", activation="gelu", **inner
        )
        self.excite: Dense = child(
            self, Dense, channels * 3, shape=(None, hidden), name="excite", **inner
        )
        self.project: keras.layers.Dense = dense(
            self, channels, channels, "project", use_bias=self.use_bias
        )

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Shift versions of `x` and add them with their weights."""
        x = self.to_channels_last(x)
        first, second, third = ops.split(self.expand(x), 3, axis=-1)  # (B, H, W, C) each
        first, second = shift_quarters(first, (1, 1, 2, 2)), shift_quarters(second, (2, 2, 1, 1))
        total = ops.sum(upcast(first + second + third), axis=(1, 2))  # (B, C)
        scores = ops.reshape(self.excite(self.squeeze(total)), (-1, 3, x.shape[-1]))
        weights = ops.cast(softmax(scores, axis=1), x.dtype)  # (B, 3, C)
        a, b, c = (ops.expand_dims(w, (1, 2)) for w in ops.unstack(weights, 3, axis=1))
        output = self.project(first * a + second * b + third * c)
        return self.result(self.from_channels_last(output), weights, return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the weights."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return batch, 3, channels

    def torch_names(self) -> TorchNames:
        """Name the parameters as the paper's listing does."""
        return {
            "mlp1": self.expand,
            "split_attention.mlp1": self.squeeze,
            "split_attention.mlp2": self.excite,
            "mlp2": self.project,
        }


def shift_quarters(x: Tensor, axes: tuple[int, int, int, int]) -> Tensor:
    """Shift quarter i of the channels along `axes[i]`: forwards, backwards, forwards, backwards."""
    quarters = zip(ops.split(x, 4, axis=-1), axes, (1, -1, 1, -1), strict=True)
    return ops.concatenate([shift(*quarter) for quarter in quarters], axis=-1)


def shift(x: Tensor, axis: int, step: int) -> Tensor:
    """Shift an image by `step`, 1 or -1, along `axis`, 1 or 2; the border keeps its own value."""
    before = (slice(None),) * axis
    if step == 1:
        parts = x[(*before, slice(None, 1))], x[(*before, slice(None, -1))]
    else:
        parts = x[(*before, slice(1, None))], x[(*before, slice(-1, None))]
    return ops.concatenate(parts, axis=axis)
