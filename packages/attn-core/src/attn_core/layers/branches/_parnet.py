"""ParNet attention: parallel branches that fuse into one convolution for inference."""

from collections.abc import Callable
from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.plain import check_plain
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Gate, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class ParNetAttention(ImageLayer):
    r"""ParNet attention: adds a 3x3 convolution, a 1x1 convolution and a gated skip connection.

    The skip connection is the normalised input, whose channels are rescaled by weights computed
    from their means (skip-squeeze-excitation). After training, `fuse()` combines the two
    convolutions into one:

    $$y = a(\mathrm{BN}(K_3 * x) + \mathrm{BN}(K_1 * x) +
    s \cdot \sigma(W\,\mathrm{mean}_{hw}(s))), \quad s = \mathrm{BN}(x)$$

    Args:
        activation: Name of the Keras activation a.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether batch normalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gate of the skip connection too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate,
        `(B, 1, 1, C)` or `(B, C, 1, 1)`.

    Raises:
        ValueError: If Keras has no such activation, the input is not an image of a known number of
            channels, or `fuse()` is called before `build`.

    Example:
        >>> import numpy as np
        >>> layer = ParNetAttention()
        >>> layer(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)
        >>> layer.count_params(), layer.fuse().count_params()
        (11648, 10400)

    Reference:
        arXiv:2110.07641. The outputs are the same as those of imankgoyal/NonDeepNetworks
        `RepVGGBlock` with `se_block=True` and stride 1.

    Differs from the paper:
        We know of no difference. The External-Attention collection in PyTorch leaves out the batch
        normalization of the skip connection; the one in TensorFlow does not have this layer.
    """

    maps: ClassVar[tuple[Map, ...]] = (Gate(),)

    def __init__(self, *, activation: str = "silu", **kwargs: Unpack[ImageArguments]) -> None:
        super().__init__(**kwargs)
        self.activate: Callable[[Tensor], Tensor] = checks.activation(
            self, "activation", activation
        )
        self.activation: str = activation

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions and the gated skip connection."""
        _, _, channels = self.check_image(input_shape)
        self._build_convolutions(channels)
        self.norm: BatchNormalization = self._batch_norm("norm", channels)
        self.gate: keras.layers.Dense = dense(
            self, channels, channels, "gate", activation="sigmoid", use_bias=False
        )

    def _batch_norm(self, name: str, channels: int) -> BatchNormalization:
        return child(self, BatchNormalization, shape=(None, None, None, channels), name=name)

    def _build_convolutions(self, channels: int) -> None:
        """Create the 3x3 and the 1x1 convolution."""
        shape = (None, None, None, channels)
        self.spatial: Conv2D = child(
            self, Conv2D, channels, 3, shape=shape, use_bias=False, name="spatial"
        )
        self.pointwise: keras.layers.Dense = dense(
            self, channels, channels, "pointwise", use_bias=False
        )
        self.spatial_norm: BatchNormalization = self._batch_norm("spatial_norm", channels)
        self.pointwise_norm: BatchNormalization = self._batch_norm("pointwise_norm", channels)

    def _convolve(self, x: Tensor, training: bool | None) -> Tensor:
        """Return the sum of the two convolutions."""
        spatial = self.spatial_norm(self.spatial(x), training=training)
        return spatial + self.pointwise_norm(self.pointwise(x), training=training)

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Add the convolutions and the gated skip connection of `x`."""
        x = self.to_channels_last(x)
        skip = self.norm(x, training=training)
        gate = self.gate(mean(skip, axis=(1, 2), keepdims=True))  # (B, 1, 1, C)
        output = self.activate(self._convolve(x, training) + skip * gate)
        output = self.from_channels_last(output)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def fuse(self) -> "FusedParNetAttention":
        """Return the form for inference: one 3x3 convolution with bias and the gated skip.

        It is a new, built layer named `<name>_fused`, with the same outputs in inference.
        """
        if not self.built:
            raise checks.error(self, "only a built layer can be fused.", "built=False")
        check_plain(self, "fuse it first, then call `quantize` or `enable_lora`")
        fused = FusedParNetAttention(
            activation=self.activation,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name=f"{self.name}_fused",
        )
        channels = self.gate.units
        fused.build(self.from_channels_last_shape((None, None, None, channels)))
        ours, theirs = (layer.norm.weights + layer.gate.weights for layer in (self, fused))
        for source, target in zip(ours, theirs, strict=True):
            target.assign(ops.copy(source))  # on JAX, training donates shared buffers

        kernel, bias = fold_norm(self.spatial.kernel, self.spatial_norm)
        centre, offset = fold_norm(self.pointwise.kernel, self.pointwise_norm)
        kernel[1, 1] += centre
        fused.spatial.kernel.assign(kernel)
        fused.spatial.bias.assign(bias + offset)
        return fused

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the gate."""
        batch, _, _, channels = self.channels_last_shape(input_shape)
        return self.from_channels_last_shape((batch, 1, 1, channels))

    def torch_names(self) -> TorchNames:
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
    r"""The form of `ParNetAttention` for inference, which its `fuse()` returns.

    $$y = a(K * x + b + s \cdot \sigma(W\,\mathrm{mean}_{hw}(s))), \quad s = \mathrm{BN}(x)$$

    Arguments, call and outputs are those of `ParNetAttention`.
    """

    def _build_convolutions(self, channels: int) -> None:
        """Create the one 3x3 convolution."""
        shape = (None, None, None, channels)
        self.spatial: Conv2D = child(self, Conv2D, channels, 3, shape=shape, name="spatial")

    def _convolve(self, x: Tensor, training: bool | None) -> Tensor:
        """Return the one convolution."""
        return self.spatial(x)

    def fuse(self) -> "FusedParNetAttention":
        """Return the layer itself, because it is already fused."""
        return self

    def torch_names(self) -> TorchNames:
        """Name the parameters as `fuse_repvgg_block` of imankgoyal/NonDeepNetworks leaves them."""
        return {
            "rbr_identity": self.norm,
            "rbr_dense": self.spatial,
            "se.cvsig.conv": self.gate,
        }


def fold_norm(kernel: keras.Variable, norm: BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias, in float64, of a convolution followed by a batch normalization."""
    variables = (kernel, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    weights, gamma, beta, average, variance = (
        ops.convert_to_numpy(variable.value).astype(np.float64) for variable in variables
    )
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return weights * scale, beta - average * scale
