"""The batch and group normalization of all layers: PyTorch's settings, a stable variance."""

import keras
from keras import ops

from attn_core.ops.precision import upcast


@keras.saving.register_keras_serializable(package="attn_core")
class BatchNormalization(keras.layers.BatchNormalization):
    """A `keras.layers.BatchNormalization` over the last axis, with PyTorch's defaults.

    On the PyTorch backend Keras takes the variance as E[x^2] - E[x]^2, which rounding makes
    negative, and the output NaN, wherever a channel varies little around a mean far from 0. Here
    it is the mean of (x - E[x])^2 on every backend.
    """

    def __init__(self, *, epsilon=1e-5, momentum=0.9, **kwargs):
        super().__init__(epsilon=epsilon, momentum=momentum, **kwargs)

    def call(self, inputs, training=None, mask=None):
        """Normalize with the statistics of the batch, or with those that training left."""
        x = upcast(inputs)
        if training and self.trainable:
            axes = tuple(range(len(x.shape) - 1))
            mean, variance = ops.mean(x, axis=axes), ops.var(x, axis=axes)
            keep = self.momentum
            self.moving_mean.assign(keep * self.moving_mean + (1 - keep) * mean)
            self.moving_variance.assign(keep * self.moving_variance + (1 - keep) * variance)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        output = ops.batch_normalization(
            x, mean, variance, -1, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        return ops.cast(output, self.compute_dtype)


@keras.saving.register_keras_serializable(package="attn_core")
class GroupNormalization(keras.layers.GroupNormalization):
    """A `keras.layers.GroupNormalization` over the last axis, with PyTorch's defaults.

    Keras' own takes the variance on the PyTorch backend as E[x^2] - E[x]^2, which is NaN or wrong
    where a large map varies little. Here the mean is taken off first, on every backend.
    """

    def __init__(self, groups=1, *, epsilon=1e-5, **kwargs):
        super().__init__(groups, epsilon=epsilon, **kwargs)

    def call(self, inputs):
        """Normalize each group of channels of a sample, over all positions."""
        shape, rank = ops.shape(inputs), len(inputs.shape)
        axes = (*range(1, rank - 1), rank)
        x = upcast(inputs)
        x = ops.reshape(x, (*shape[:-1], self.groups, shape[-1] // self.groups))
        x = x - ops.mean(x, axis=axes, keepdims=True)
        x = x * ops.rsqrt(ops.mean(ops.square(x), axis=axes, keepdims=True) + self.epsilon)
        return ops.cast(ops.reshape(x, shape) * self.gamma + self.beta, self.compute_dtype)
