"""Contextual transformer."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization, GroupNormalization
from attn_core.ops.precision import mean, softmax
from attn_core.ops.windows import neighbours


@keras.saving.register_keras_serializable(package="attn_core")
class CoTAttention(ImageLayer):
    r"""Contextual transformer: mixes a static context with a local attention computed from it.

    A k x k convolution of the input gives the static context S; from it and the input, two dense
    layers predict at every position a k x k kernel for each group of channels, which mixes the
    values around the position into the dynamic context D. A softmax weighs the two:

    $$S = \mathrm{conv}(x), \quad A = \mathrm{GN}(W_2\,\mathrm{relu}(W_1 [x, S])), \quad
        D_p = \mathrm{silu}\Big(\sum_{n} A_{p,n}\, (W_v x)_{p+n}\Big)$$
    $$y = a_1 D + a_2 S, \quad
        a = \mathrm{softmax}(W_4\,\mathrm{relu}(W_3\,\mathrm{mean}_{hw}(D + S)))$$

    with a BatchNormalization before every activation, and after W_v and the convolution.

    Args:
        kernel_size: Odd size k of the neighbourhood.
        key_groups: Groups of the convolution; divides C.
        share_planes: Number of channels that share one kernel; divides C. Channel c takes kernel
            c mod (C / share_planes).
        factor: C // factor is the hidden width of the kernels' prediction, at least 1.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the batch's statistics.
        return_attention_scores: Whether to return the two maps too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of two maps, in
        both data formats: the kernels A as a local attention of one query to k * k keys,
        `(B, C // share_planes, H * W, 1, k * k)`, which are normalised but no softmax; and the
        branch softmax a, `(B, 2, C)`, dynamic context first.

    Raises:
        ValueError: If an argument is out of range, `key_groups` or `share_planes` does not divide
            C, or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> CoTAttention()(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Li, Yao, Pan, Mei, "Contextual Transformer Networks for Visual Recognition", 2021,
        arXiv:2107.12292; numbers as JDAI-CV/CoTNet `CotLayer`.

    Differs from the paper:
        As in the released code, GroupNorm normalises the kernels over the image, and
        BatchNormalization the values and D; the paper's formulas have no norms. xmu-xiaoma666's
        collection has neither local kernels nor the fusion: it averages over k * k, takes a
        softmax over all positions and adds the two contexts.
    """

    def __init__(
        self,
        kernel_size: int = 3,
        *,
        key_groups: int = 4,
        share_planes: int = 8,
        factor: int = 2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.kernel_size = self.odd("kernel_size", kernel_size)
        self.key_groups = self.integer("key_groups", key_groups)
        self.share_planes = self.integer("share_planes", share_planes)
        self.factor = self.integer("factor", factor)

    def build(self, input_shape):
        """Create the convolution, the dense layers and the norms."""
        _, _, channels = self.check_image(input_shape)
        self.divisible("the number of channels", channels, "key_groups", self.key_groups)
        self.num_kernels = self.divisible(
            "the number of channels", channels, "share_planes", self.share_planes
        )
        options = {"use_bias": False, "groups": self.key_groups, "dtype": self.dtype_policy}
        self.static = Conv2D(channels, self.kernel_size, name="static", **options)
        self.static.build((None, None, None, channels))
        self.static_norm = self._norm("static_norm", channels)

        hidden = max(1, channels // self.factor)
        self.hidden = self._dense("hidden", 2 * channels, hidden, use_bias=False)
        self.hidden_norm = self._norm("hidden_norm", hidden)
        size = self.kernel_size**2
        self.kernels = self._dense("kernels", hidden, self.num_kernels * size)
        self.kernels_norm = GroupNormalization(
            self.num_kernels, name="kernels_norm", dtype=self.dtype_policy
        )
        self.kernels_norm.build((None, None, None, self.num_kernels * size))

        self.value = self._dense("value", channels, channels, use_bias=False)
        self.value_norm = self._norm("value_norm", channels)
        self.dynamic_norm = self._norm("dynamic_norm", channels)

        squeezed = max(2 * channels // 4, 32)
        self.squeeze = self._dense("squeeze", channels, squeezed)
        self.squeeze_norm = self._norm("squeeze_norm", squeezed)
        self.select = self._dense("select", squeezed, 2 * channels)

    def _dense(self, name, inputs, outputs, use_bias=True):
        layer = keras.layers.Dense(outputs, use_bias=use_bias, name=name, dtype=self.dtype_policy)
        layer.build((None, inputs))
        return layer

    def _norm(self, name, channels):
        layer = BatchNormalization(name=name, dtype=self.dtype_policy)
        layer.build((None, None, None, channels))
        return layer

    def call(self, x, training=None, return_attention_scores=False):
        """Mix the static and the dynamic context of `x`."""
        x = self.to_channels_last(x)
        image = ops.shape(x)[:3]  # B, H, W
        static = ops.relu(self.static_norm(self.static(x), training=training))

        kernels = self.hidden(ops.concatenate([x, static], axis=-1))
        kernels = self.kernels(ops.relu(self.hidden_norm(kernels, training=training)))
        kernels = self.kernels_norm(kernels)  # each kernel over the image and its taps
        kernels = ops.reshape(kernels, (*image, self.num_kernels, self.kernel_size**2))

        values = self.value_norm(self.value(x), training=training)
        values = neighbours(values, self.kernel_size)  # k * k times (B, H, W, C)
        dynamic = 0.0
        for value, kernel in zip(values, ops.unstack(kernels, axis=-1), strict=True):
            value = ops.reshape(value, (*image, self.share_planes, self.num_kernels))
            dynamic = dynamic + value * ops.expand_dims(kernel, 3)
        dynamic = ops.reshape(dynamic, ops.shape(x))  # (B, H, W, C)
        dynamic = ops.silu(self.dynamic_norm(dynamic, training=training))

        # The mean of the sum is the sum of the means: no further map is written.
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

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shapes of the kernels and of the branch softmax."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        positions = None if height is None or width is None else height * width
        kernels = channels // self.share_planes
        return (batch, kernels, positions, 1, self.kernel_size**2), (batch, 2, channels)

    def torch_names(self) -> dict:
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
