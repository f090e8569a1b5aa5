"""What the MobileViT blocks, and networks of the same family, are made of."""

import keras

from attn_core.layers.base import AttentionLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization


def one_or_pair(layer, name: str, value, check):
    """Check that argument `name` is a number, or a pair of them, that passes `check`."""
    if isinstance(value, (list, tuple)):
        return layer.sequence(name, value, check, length=2)
    return check(name, value)


def pair(value) -> tuple[int, int]:
    """Return a pair, or a number twice."""
    return value if isinstance(value, tuple) else (value, value)


@keras.saving.register_keras_serializable(package="attn_core")
class ConvNorm(AttentionLayer):
    """Convolution without bias, batch normalisation, activation; channels last.

    Args:
        filters: Number of output channels.
        kernel_size: Odd size of the kernel, or a pair.
        strides: By what height and width are divided, rounded up.
        groups: Groups of channels.
        activation: Name of an activation, or `None`.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(self, filters, kernel_size=1, *, strides=1, groups=1, activation="silu", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.groups = groups
        self.activation = activation

    def build(self, input_shape):
        """Create the convolution and the norm."""
        options = {"use_bias": False, "dtype": self.dtype_policy, "name": "convolution"}
        if self.kernel_size == self.strides == self.groups == 1:
            self.convolution = keras.layers.Dense(self.filters, **options)
        else:
            options |= {"strides": self.strides, "groups": self.groups}
            self.convolution = Conv2D(self.filters, self.kernel_size, **options)
        self.convolution.build(input_shape)
        self.norm = BatchNormalization(dtype=self.dtype_policy, name="norm")
        self.norm.build((*input_shape[:-1], self.filters))

    def call(self, x, training=None):
        """Convolve, normalise, activate."""
        x = self.norm(self.convolution(x), training=training)
        return keras.activations.get(self.activation)(x)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape, divided by the strides, with other channels."""
        batch, *sides, _ = input_shape
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return (batch, *sides, self.filters)

    def torch_names(self) -> dict:
        """Name the parameters as apple/ml-cvnets `ConvLayer2d` does."""
        return {"block.conv": self.convolution, "block.norm": self.norm}
