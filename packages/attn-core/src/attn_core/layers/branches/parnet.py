"""ParNet attention: parallel branches that fuse into one convolution for inference."""

import keras
import numpy as np
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.ops.precision import mean


@keras.saving.register_keras_serializable(package="attn_core")
class ParNetAttention(ImageLayer):
    r"""ParNet attention: adds a 3x3 convolution, a 1x1 convolution and a gated skip.

    The skip is the normalised input, its channels weighed by what the whole image holds
    (skip-squeeze-excitation); after training, `fuse()` folds the two convolutions into one:

    $$y = a(\mathrm{BN}(K_3 * x) + \mathrm{BN}(K_1 * x) +
    s \cdot \sigma(W\,\mathrm{mean}_{hw}(s))), \quad s = \mathrm{BN}(x)$$

    Args:
        activation: Name of the Keras activation a.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether batch normalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gate of the skip too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate,
        `(B, 1, 1, C)` or `(B, C, 1, 1)`.

    Raises:
        ValueError: If Keras knows no such activation, the input is not an image of a known number
            of channels, or `fuse()` comes before build.

    Example:
        >>> import numpy as np
        >>> layer = ParNetAttention()
        >>> layer(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)
        >>> layer.count_params(), layer.fuse().count_params()
        (11648, 10400)

    Reference:
        Goyal, Bochkovskiy, Deng, Koltun, "Non-deep Networks", NeurIPS 2022, arXiv:2110.07641;
        numbers as imankgoyal/NonDeepNetworks `RepVGGBlock` with `se_block=True`, stride 1.

    Differs from the paper:
        In nothing known. The old PyTorch collection leaves out the batch normalization of the
        skip; that in TensorFlow has no such layer.
    """

    def __init__(self, *, activation="silu", **kwargs):
        super().__init__(**kwargs)
        self.activate = self.activation_function("activation", activation)
        self.activation = activation

    def build(self, input_shape):
        """Create the convolutions and the gated skip."""
        _, _, channels = self.check_image(input_shape)
        shape = (None, None, None, channels)
        self.build_convolutions(channels, shape)
        self.norm = self.batch_norm("norm", shape)
        self.gate = keras.layers.Dense(
            channels, activation="sigmoid", use_bias=False, dtype=self.dtype_policy, name="gate"
        )
        self.gate.build((None, 1, 1, channels))

    def batch_norm(self, name, shape):
        """Return a built batch normalization."""
        norm = BatchNormalization(dtype=self.dtype_policy, name=name)
        norm.build(shape)
        return norm

    def build_convolutions(self, channels, shape):
        """Create the 3x3 and the 1x1 convolution."""
        options = {"use_bias": False, "dtype": self.dtype_policy}
        self.spatial = Conv2D(channels, 3, name="spatial", **options)
        self.pointwise = keras.layers.Dense(channels, name="pointwise", **options)
        self.spatial.build(shape)
        self.pointwise.build(shape)
        self.spatial_norm = self.batch_norm("spatial_norm", shape)
        self.pointwise_norm = self.batch_norm("pointwise_norm", shape)

    def convolve(self, x, training):
        """Return the sum of the two convolutions."""
        spatial = self.spatial_norm(self.spatial(x), training=training)
        return spatial + self.pointwise_norm(self.pointwise(x), training=training)

    def call(self, x, training=None, return_attention_scores=False):
        """Add convolutions and gated skip of `x`."""
        x = self.to_channels_last(x)
        skip = self.norm(x, training=training)
        gate = self.gate(mean(skip, axis=(1, 2), keepdims=True))  # (B, 1, 1, C)
        output = self.activate(self.convolve(x, training) + skip * gate)
        output = self.from_channels_last(output)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def fuse(self) -> "FusedParNetAttention":
        """Return the inference form: one 3x3 convolution with bias beside the gated skip.

        It is a new, built layer named `<name>_fused` with equal outputs in inference.
        """
        if not self.built:
            raise self.error("only a built layer can be fused.", "built=False")
        fused = FusedParNetAttention(
            activation=self.activation,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name=f"{self.name}_fused",
        )
        channels = self.gate.units
        fused.build(self.own_shape((None, None, None, channels)))
        ours, theirs = (layer.norm.weights + layer.gate.weights for layer in (self, fused))
        for source, target in zip(ours, theirs, strict=True):
            target.assign(ops.copy(source))  # on JAX, training gives away what is shared

        kernel, bias = fold_norm(self.spatial.kernel, self.spatial_norm)
        centre, offset = fold_norm(self.pointwise.kernel, self.pointwise_norm)
        kernel[1, 1] += centre
        fused.spatial.kernel.assign(kernel)
        fused.spatial.bias.assign(bias + offset)
        return fused

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the gate."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return self.own_shape((batch, 1, 1, channels))

    def torch_names(self) -> dict:
        """Name the parameters as imankgoyal/NonDeepNetworks does."""
        return {
            "rbr_identity": self.norm,
            "rbr_dense.conv": self.spatial,
            "rbr_dense.bn": self.spatial_norm,
            "rbr_1x1.conv": self.pointwise,
            "rbr_1x1.bn": self.pointwise_norm,
            "se.cvsig.conv": self.gate,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class FusedParNetAttention(ParNetAttention):
    r"""The inference form of `ParNetAttention`, which its `fuse()` returns.

    $$y = a(K * x + b + s \cdot \sigma(W\,\mathrm{mean}_{hw}(s))), \quad s = \mathrm{BN}(x)$$

    Arguments, call and outputs are those of `ParNetAttention`.
    """

    def build_convolutions(self, channels, shape):
        """Create the 3x3 convolution that holds both."""
        self.spatial = Conv2D(channels, 3, dtype=self.dtype_policy, name="spatial")
        self.spatial.build(shape)

    def convolve(self, x, training):
        """Return the one convolution."""
        return self.spatial(x)

    def fuse(self) -> "FusedParNetAttention":
        """Return the layer itself: it is fused."""
        return self

    def torch_names(self) -> dict:
        """Name the parameters as after `fuse_repvgg_block` of imankgoyal/NonDeepNetworks."""
        return {
            "rbr_identity": self.norm,
            "rbr_dense": self.spatial,
            "se.cvsig.conv": self.gate,
        }


def fold_norm(kernel, norm):
    """Return, in float64, kernel and bias of a convolution with its batch normalization."""
    variables = (kernel, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    kernel, gamma, beta, average, variance = (
        ops.convert_to_numpy(variable.value).astype(np.float64) for variable in variables
    )
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return kernel * scale, beta - average * scale
