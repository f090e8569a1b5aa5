"""The normalizations of all layers: PyTorch's defaults, a stable variance, fast on each backend."""

from typing import Any

import keras
from keras import ops

from attn_core._ops.lowering import on_torch
from attn_core._ops.precision import cast, upcast
from attn_core._typing import Tensor
from attn_core.layers._sublayer import Sublayer

if keras.config.backend() == "torch":
    from attn_core._ops import kernels_torch


@keras.saving.register_keras_serializable(package="attn_core")
class BatchNormalization(Sublayer, keras.layers.BatchNormalization):
    """A `keras.layers.BatchNormalization` over the last axis, with PyTorch's defaults.

    On the PyTorch backend Keras computes the variance as E[x^2] - E[x]^2. Where a channel varies
    little around a mean far from 0, rounding makes this negative and the output NaN. Here the
    variance is the mean of (x - E[x])^2 on every backend.
    """

    _asks_for_training = True

    def __init__(self, *, epsilon: float = 1e-5, momentum: float = 0.9, **kwargs: Any) -> None:
        super().__init__(epsilon=epsilon, momentum=momentum, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        """Normalize with the statistics of the batch in training, else with the moving ones."""
        x = upcast(inputs)
        if training and self.trainable:
            output, mean, variance = self._normalize_batch(x)
            keep = self.momentum
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(keep * moving + (1 - keep) * cast(now, moving.dtype))
        else:
            output = self._normalize(x, self.moving_mean, self.moving_variance)
        return cast(output, self.compute_dtype)

    def _normalize(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Normalize with given statistics."""
        if on_torch():
            weights = _like(x, mean, variance, self.beta, self.gamma)
            return kernels_torch.batch_normalization(x, *weights, self.epsilon)
        weights = {"offset": self.beta, "scale": self.gamma}
        return ops.batch_normalization(x, mean, variance, -1, **weights, epsilon=self.epsilon)

    def _normalize_batch(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalize with the statistics of the batch; return also its mean and variance."""
        if on_torch():
            weights = _like(x, self.beta, self.gamma)
            return kernels_torch.batch_normalization_in_training(x, *weights, self.epsilon)
        mean = _mean(x)
        x = x - mean  # before it is scaled: where the mean is large, digits would be lost
        variance = _mean(ops.square(x))
        return self._normalize(x, ops.zeros_like(mean), variance), mean, variance


@keras.saving.register_keras_serializable(package="attn_core")
class LayerNormalization(Sublayer, keras.layers.LayerNormalization):
    """A `keras.layers.LayerNormalization` over the last axis, by PyTorch's own kernel there."""

    def call(self, inputs: Tensor) -> Tensor:
        """Normalize each vector of channels."""
        if not on_torch():
            return super().call(inputs)
        x = upcast(inputs)
        weights = _like(x, self.beta, self.gamma)
        channels = self.gamma.shape[0]  # a number, also where ONNX traces the shape of the input
        output = kernels_torch.layer_normalization(x, channels, *weights, self.epsilon)
        return cast(output, self.compute_dtype)


@keras.saving.register_keras_serializable(package="attn_core")
class GroupNormalization(Sublayer, keras.layers.GroupNormalization):
    """A `keras.layers.GroupNormalization` over the last axis, with PyTorch's defaults.

    On the PyTorch backend Keras computes the variance as E[x^2] - E[x]^2, which is wrong, or NaN,
    where a large image varies little. Here the mean is subtracted first, on every backend.
    """

    def __init__(self, groups: int = 1, *, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(groups, epsilon=epsilon, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Normalize each group of channels of a sample over all positions."""
        shape, rank = ops.shape(inputs), len(inputs.shape)
        axes = (*range(1, rank - 1), rank)
        groups = self.groups, shape[-1] // self.groups
        x = ops.reshape(upcast(inputs), (*shape[:-1], *groups))
        x = x - ops.mean(x, axis=axes, keepdims=True)
        variance = ops.mean(ops.square(x), axis=axes, keepdims=True)
        scale, offset = (ops.reshape(one, groups) for one in (self.gamma, self.beta))
        x = x * (scale * ops.rsqrt(variance + self.epsilon)) + offset
        return cast(ops.reshape(x, shape), self.compute_dtype)


def _mean(x: Tensor) -> Tensor:
    """Mean of each channel, axis by axis: short sums round less than one over all positions."""
    for axis in reversed(range(len(x.shape) - 1)):
        x = ops.mean(x, axis=axis)
    return x


def _like(x: Tensor, *weights: Tensor | None) -> list[Tensor | None]:
    """Return weights, of which some may be missing, in the dtype of `x`."""
    return [
        None if weight is None else cast(ops.convert_to_tensor(weight), x.dtype)
        for weight in weights
    ]
