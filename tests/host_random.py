"""Weights are drawn by NumPy on JAX, which would compile a program for each shape of a weight.

In a test of one layer, this compilation takes longer than the layer itself. Which random numbers
Keras draws does not matter here: the tests set weights of their own, or need any numbers.
"""

from types import SimpleNamespace

import keras
import numpy as np
from keras.src.initializers import random_initializers


def _tensor(draw):
    """Return a function of Keras' signature that draws by NumPy's generator, which tests seed."""

    def drawn(shape, *parameters, dtype=None, seed=None, **named):
        dtype = dtype or keras.config.floatx()
        numbers = draw(shape, *parameters, **named)
        return keras.ops.convert_to_tensor(np.asarray(numbers, dtype))

    return drawn


def _uniform(shape, minval=0.0, maxval=1.0):
    return np.random.uniform(minval, maxval, shape)


def _normal(shape, mean=0.0, stddev=1.0):
    return np.random.normal(mean, stddev, shape)


def _truncated(shape, mean=0.0, stddev=1.0):
    """Draw numbers within two standard deviations."""
    numbers = np.random.normal(size=shape)
    while (beyond := np.abs(numbers) > 2).any():
        numbers = np.where(beyond, np.random.normal(size=shape), numbers)
    return mean + stddev * numbers


def install() -> None:
    """Let Keras' initializers draw by NumPy, on JAX alone."""
    if keras.config.backend() == "jax":
        ours = {"uniform": _uniform, "normal": _normal, "truncated_normal": _truncated}
        drawn = {name: _tensor(draw) for name, draw in ours.items()}
        random_initializers.random = SimpleNamespace(**vars(random_initializers.random) | drawn)
