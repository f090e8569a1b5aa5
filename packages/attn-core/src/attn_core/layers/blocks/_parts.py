"""What the MobileViT blocks, and networks of the same family, are made of."""

from typing import Unpack

import keras

from attn_core._ops import activations
from attn_core._typing import LayerArguments, Shape, Tensor
from attn_core._weights.entries import Schemes
from attn_core.layers._base import AttentionLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization


def pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return a pair as it is, a number twice."""
    return value if isinstance(value, tuple) else (value, value)


@keras.saving.register_keras_serializable(package="attn_core")
class ConvNorm(AttentionLayer):
    """Convolution without bias, batch normalisation, activation; channels last.

    Args:
        filters: Number of output channels.
        kernel_size: Odd size of the kernel, or a pair.
        strides: Divisor of height and width, which are rounded up.
        groups: Number of groups of channels.
        activation: Name of an activation, or `None`.
        **kwargs: Keras' own layer arguments.
    """

    follows = {"norm": "convolution"}

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...] = 1,
        *,
        strides: int = 1,
        groups: int = 1,
        activation: str | None = "silu",
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.groups = groups
        self.activation = activation

    def build(self, input_shape: Shape) -> None:
        """Create the convolution and the norm."""
        *outer, channels = input_shape
        self.convolution: keras.layers.Layer
        if self.kernel_size == self.strides == self.groups == 1:
            self.convolution = dense(self, channels, self.filters, "convolution", use_bias=False)
        else:
            self.convolution = child(
                self,
                Conv2D,
                self.filters,
                self.kernel_size,
                shape=input_shape,
                strides=self.strides,
                groups=self.groups,
                use_bias=False,
                name="convolution",
            )
        self.norm: keras.layers.Layer = child(
            self, BatchNormalization, shape=(*outer, self.filters), name="norm"
        )

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Convolve, normalise, activate."""
        x = self.norm(self.convolution(x), training=training)
        return activations.get(self.activation)(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape, divided by the strides, with other channels."""
        batch, *sides, _ = input_shape
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return (batch, *sides, self.filters)

    def torch_names(self) -> Schemes:
        """Name the parameters as apple/ml-cvnets `ConvLayer2d` does, or timm's `ConvNormAct`."""
        return Schemes(
            authors={"block.conv": self.convolution, "block.norm": self.norm},
            timm={"conv": self.convolution, "bn": self.norm},
        )
