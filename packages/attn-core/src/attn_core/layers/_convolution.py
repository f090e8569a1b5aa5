"""The convolutions of all layers: padded as in PyTorch, and fast on each backend."""

from typing import Any, TypeAlias

import keras

from attn_core._ops.convolution import conv1d, conv2d, conv3d
from attn_core._typing import Shape, Tensor
from attn_core.layers._sublayer import Sublayer

FIXED = {"padding": "same", "data_format": "channels_last"}


@keras.saving.register_keras_serializable(package="attn_core")
class Conv1D(Sublayer, keras.layers.Conv1D):
    """A `keras.layers.Conv1D`, channels last, padded as `Conv2D` is.

    Args:
        filters: Number of output channels.
        kernel_size: Odd kernel size.
        **kwargs: As for `keras.layers.Conv1D`: `strides`, `dilation_rate`, `groups`, `use_bias`.
    """

    def __init__(self, filters: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **{**kwargs, **FIXED})

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolve with symmetric padding."""
        return conv1d(inputs, kernel, *self.strides, *self.dilation_rate)

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve: Keras' own `call` does not go through `convolution_op` here."""
        outputs = self.convolution_op(inputs, self.kernel)
        outputs = outputs + self.bias if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="attn_core")
class Conv2D(Sublayer, keras.layers.Conv2D):
    """A `keras.layers.Conv2D`, channels last, padded as in PyTorch: symmetrically, with zeros.

    The output has the height and width of the input divided by the strides, rounded up. Grouped and
    depthwise (`groups=C`) convolutions use the fastest operations of each backend.

    Args:
        filters: Number of output channels.
        kernel_size: Odd kernel size, an integer or a pair.
        **kwargs: As for `keras.layers.Conv2D`: `strides`, `dilation_rate`, `groups`, `use_bias`.
    """

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **{**kwargs, **FIXED})

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolve with symmetric padding."""
        return conv2d(inputs, kernel, tuple(self.strides), tuple(self.dilation_rate))


@keras.saving.register_keras_serializable(package="attn_core")
class Conv3D(Sublayer, keras.layers.Conv3D):
    """A `keras.layers.Conv3D`, channels last, padded as `Conv2D` is.

    Args:
        filters: Number of output channels.
        kernel_size: Odd kernel size, an integer or three of them.
        **kwargs: As for `keras.layers.Conv3D`: `strides`, `dilation_rate`, `use_bias`.
    """

    def __init__(self, filters: int, kernel_size: int | tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **{**kwargs, **FIXED})

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolve with symmetric padding."""
        return conv3d(inputs, kernel, tuple(self.strides), tuple(self.dilation_rate))


Convolution: TypeAlias = Conv1D | Conv2D | Conv3D


def convolution(shape: Shape) -> type[Convolution]:
    """Return the convolution over all positions of inputs of a shape."""
    kinds: dict[int, type[Convolution]] = {3: Conv1D, 4: Conv2D, 5: Conv3D}
    return kinds[len(shape)]
