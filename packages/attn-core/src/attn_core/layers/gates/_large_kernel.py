"""Large kernel attention (VAN)."""

from typing import Any, ClassVar, Unpack

import keras

from attn_core import _checks as checks
from attn_core._ops.activations import gelu
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, Split
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Gate, Map


@keras.saving.register_keras_serializable(package="attn_core")
class LargeKernelAttention(ImageLayer):
    r"""Large kernel attention: rescales each value by a convolution of a large region around it.

    A K x K convolution is replaced by three smaller ones: a depthwise convolution of size 2d - 1, a
    depthwise convolution of size ceil(K / d) with dilation d, and a 1x1 convolution, without
    activations between them:

    $$u = \mathrm{gelu}(W_1 x), \quad
    g = W * (\mathrm{DW}^{d}_{\lceil K/d \rceil} * (\mathrm{DW}_{2d-1} * u)), \quad
    y = W_2(u \cdot g) + x$$

    All convolutions have biases; gelu is the exact form, not an approximation. With
    `projection=False` u is the input, and the output is $u \cdot g$. There is no sigmoid, so the
    gate g can be any number.

    Args:
        kernel_size: Size K of the convolution that is replaced; ceil(K / d) must be odd.
        dilation: Dilation d of the second convolution.
        projection: Whether the layer also has the two 1x1 convolutions, gelu and the sum with x.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate, of the same
        shape.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image of a known
            number of channels.

    Example:
        >>> import numpy as np
        >>> LargeKernelAttention()(np.ones((2, 14, 14, 32))).shape
        (2, 14, 14, 32)

    Reference:
        arXiv:2202.09741. The outputs are the same as those of
        Visual-Attention-Network/VAN-Classification `Attention`, or `LKA` with `projection=False`.

    Differs from the paper:
        There is no difference. The released code only has K = 21 and d = 3; for other values the
        layer follows the paper's rule. The block around the layer, with its norm, layer scale and
        MLP, is not included.
    """

    maps: ClassVar[tuple[Map, ...]] = (Gate(),)
    split: ClassVar[dict[str, Split]] = {"project_out": "inputs"}

    def __init__(
        self,
        kernel_size: int = 21,
        *,
        dilation: int = 3,
        projection: bool = True,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size: int = checks.integer(self, "kernel_size", kernel_size)
        self.dilation: int = checks.integer(self, "dilation", dilation)
        self.projection: bool = checks.flag(self, "projection", projection)
        if self._dilated_size() % 2 == 0:
            raise checks.error(
                self,
                "kernel_size / dilation, rounded up, must be odd.",
                f"kernel_size={kernel_size}, dilation={dilation}",
            )

    def _dilated_size(self) -> int:
        """Return the size of the dilated kernel, ceil(K / d)."""
        return -(-self.kernel_size // self.dilation)

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions."""
        _, _, channels = self.check_image(input_shape)
        options = {"shape": (None, None, None, channels), "groups": channels}
        if self.projection:
            self.project_in: keras.layers.Dense = dense(self, channels, channels, "project_in")
        self.near: Conv2D = child(
            self, Conv2D, channels, 2 * self.dilation - 1, name="near", **options
        )
        self.far: Conv2D = child(
            self,
            Conv2D,
            channels,
            self._dilated_size(),
            dilation_rate=self.dilation,
            name="far",
            **options,
        )
        self.mix: keras.layers.Dense = dense(self, channels, channels, "mix")
        if self.projection:
            self.project_out: keras.layers.Dense = dense(self, channels, channels, "project_out")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Rescale every value of `x`."""
        shortcut = x = self.to_channels_last(x)
        if self.projection:
            x = gelu(self.project_in(x))
        gate = self.mix(self.far(self.near(x)))  # (B, H, W, C)
        x = x * gate
        if self.projection:
            x = self.project_out(x) + shortcut
        output = self.from_channels_last(x)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate, the input's."""
        return tuple(input_shape)

    def torch_names(self) -> TorchNames:
        """Name the parameters as Visual-Attention-Network/VAN-Classification does."""
        gate = {"conv0": self.near, "conv_spatial": self.far, "conv1": self.mix}
        if not self.projection:
            return gate
        inner = {f"spatial_gating_unit.{name}": layer for name, layer in gate.items()}
        return {"proj_1": self.project_in, **inner, "proj_2": self.project_out}
