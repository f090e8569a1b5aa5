"""Contextual transformer."""

from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import mean, softmax
from attn_core._ops.windows import neighbours
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, positions
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._maps import Branches, Windows
from attn_core.layers._normalization import BatchNormalization, GroupNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class CoTAttention(ImageLayer):
    r"""Contextual transformer: adds a static context and a local attention computed from it.

    A k x k convolution of the input computes the static context S. From S and the input, two dense
    layers predict a k x k kernel for each position and each group of channels. The dynamic context
    D is the sum of the values around a position, weighted by this kernel. A softmax per channel
    weights the two contexts:

    $$S = \mathrm{conv}(x), \quad A = \mathrm{GN}(W_2\,\mathrm{relu}(W_1 [x, S])), \quad
        D_p = \mathrm{silu}\Big(\sum_{n} A_{p,n}\, (W_v x)_{p+n}\Big)$$
    $$y = a_1 D + a_2 S, \quad
        a = \mathrm{softmax}(W_4\,\mathrm{relu}(W_3\,\mathrm{mean}_{hw}(D + S)))$$

    There is a BatchNormalization before every activation, and after W_v and the convolution.

    Args:
        kernel_size: Odd size k of the neighbourhood.
        key_groups: Groups of the convolution; divides C.
        share_planes: Number of channels that share one kernel; divides C. Channel c uses kernel
            c mod (C / share_planes).
        factor: The hidden width of the prediction of the kernels is C // factor, at least 1.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the batch's statistics.
        return_attention_scores: Whether to return the two maps too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of two maps,
        the same in both data formats: the kernels A, as a local attention of one query to k * k
        keys, `(B, C // share_planes, H * W, 1, k * k)`, normalised but without a softmax; and the
        softmax a over the two contexts, `(B, 2, C)`, beginning with the dynamic context.

    Raises:
        ValueError: If an argument is out of range, `key_groups` or `share_planes` does not divide
            C, or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> CoTAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:2107.12292. The outputs are the same as those of JDAI-CV/CoTNet `CotLayer`.

    Differs from the paper:
        As in the released code, GroupNorm normalises the kernels over the image, and
        BatchNormalization normalises the values and D; the paper's formulas have no norms.
        xmu-xiaoma666's collection has neither local kernels nor the weights a: it averages over k *
        k, takes a softmax over all positions and adds the two contexts.
    """

    maps = (Windows(), Branches())
    split = {"select": "inputs"}

    def __init__(
        self,
        kernel_size: int = 3,
        *,
        key_groups: int = 4,
        share_planes: int = 8,
        factor: int = 2,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size: int = checks.odd(self, "kernel_size", kernel_size)
        self.key_groups: int = checks.integer(self, "key_groups", key_groups)
        self.share_planes: int = checks.integer(self, "share_planes", share_planes)
        self.factor: int = checks.integer(self, "factor", factor)

    def build(self, input_shape: Shape) -> None:
        """Create the convolution, the dense layers and the norms."""
        _, _, channels = self.check_image(input_shape)
        checks.divisible(self, "the number of channels", channels, "key_groups", self.key_groups)
        self._num_kernels = checks.divisible(
            self, "the number of channels", channels, "share_planes", self.share_planes
        )
        self.static: keras.layers.Conv2D = child(
            self,
            Conv2D,
            channels,
            self.kernel_size,
            shape=(None, None, None, channels),
            use_bias=False,
            groups=self.key_groups,
            name="static",
        )
        self.static_norm: keras.layers.Layer = self._norm(channels, "static_norm")

        hidden, outputs = max(1, channels // self.factor), self._num_kernels * self.kernel_size**2
        self.hidden: keras.layers.Dense = dense(
            self, 2 * channels, hidden, "hidden", use_bias=False
        )
        self.hidden_norm: keras.layers.Layer = self._norm(hidden, "hidden_norm")
        self.kernels: keras.layers.Dense = dense(self, hidden, outputs, "kernels")
        self.kernels_norm: keras.layers.Layer = child(
            self,
            GroupNormalization,
            self._num_kernels,
            shape=(None, None, None, outputs),
            name="kernels_norm",
        )

        self.value: keras.layers.Dense = dense(self, channels, channels, "value", use_bias=False)
        self.value_norm: keras.layers.Layer = self._norm(channels, "value_norm")
        self.dynamic_norm: keras.layers.Layer = self._norm(channels, "dynamic_norm")

        squeezed = max(2 * channels // 4, 32)
        self.squeeze: keras.layers.Dense = dense(self, channels, squeezed, "squeeze")
        self.squeeze_norm: keras.layers.Layer = self._norm(squeezed, "squeeze_norm")
        self.select: keras.layers.Dense = dense(self, squeezed, 2 * channels, "select")

    def _norm(self, channels: int, name: str) -> BatchNormalization:
        return child(self, BatchNormalization, shape=(None, None, None, channels), name=name)

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Add the static and the dynamic context of `x`, weighted."""
        x = self.to_channels_last(x)
        image = ops.shape(x)[:3]  # B, H, W
        static = ops.relu(self.static_norm(self.static(x), training=training))

        kernels = self.hidden(ops.concatenate([x, static], axis=-1))
        kernels = self.kernels(ops.relu(self.hidden_norm(kernels, training=training)))
        kernels = self.kernels_norm(kernels)  # each kernel, over the image and its own entries
        kernels = ops.reshape(kernels, (*image, self._num_kernels, self.kernel_size**2))

        values = self.value_norm(self.value(x), training=training)
        values = neighbours(values, self.kernel_size)  # k * k times (B, H, W, C)
        dynamic = 0.0
        for value, kernel in zip(values, ops.unstack(kernels, axis=-1), strict=True):
            value = ops.reshape(value, (*image, self.share_planes, self._num_kernels))
            dynamic = dynamic + value * ops.expand_dims(kernel, 3)
        dynamic = ops.reshape(dynamic, ops.shape(x))  # (B, H, W, C)
        dynamic = ops.silu(self.dynamic_norm(dynamic, training=training))

        # The mean of the sum is the sum of the means, and saves an image in memory.
        weights = mean(dynamic, (1, 2), keepdims=True) + mean(static, (1, 2), keepdims=True)
        weights = self.select(
            ops.relu(self.squeeze_norm(self.squeeze(weights), training=training))
        )  # (B, 1, 1, 2 * C), the two branches of a channel side by side
        weights = softmax(ops.reshape(weights, (image[0], 1, 1, x.shape[-1], 2)))
        first, second = ops.unstack(weights, axis=-1)  # (B, 1, 1, C)
        output = self.from_channels_last(first * dynamic + second * static)
        if not return_attention_scores:
            return output
        local = ops.reshape(kernels, (image[0], image[1] * image[2], 1, *kernels.shape[3:]))
        local = ops.transpose(local, (0, 3, 1, 2, 4))
        branches = ops.concatenate([first, second], axis=1)  # (B, 2, 1, C)
        return output, (local, ops.squeeze(branches, 2))

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the kernels and of the branch softmax."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        kernels = (batch, channels // self.share_planes, positions(height, width), 1)
        return (*kernels, self.kernel_size**2), (batch, 2, channels)

    def torch_names(self) -> TorchNames:
        """Name the parameters as JDAI-CV/CoTNet does."""
        return {
            "key_embed.0": self.static,
            "key_embed.1": self.static_norm,
            "embed.0": self.hidden,
            "embed.1": self.hidden_norm,
            "embed.3": self.kernels,
            "embed.4": self.kernels_norm,
            "conv1x1.0": self.value,
            "conv1x1.1": self.value_norm,
            "bn": self.dynamic_norm,
            "se.0": self.squeeze,
            "se.1": self.squeeze_norm,
            "se.3": self.select,
        }
