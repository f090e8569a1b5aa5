"""How a layer creates the layers that it is made of."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

from attn_core._typing import Shape
from attn_core.layers._dense import Dense

Child = TypeVar("Child", bound=keras.layers.Layer)

KERNELS = ("kernel", "filter", "transform")
"""The names of all weights that are the kernel of a linear map."""


def child(
    owner: keras.layers.Layer,
    kind: Callable[..., Child],
    *arguments: Any,
    shape: Shape,
    **options: Any,
) -> Child:
    """Return a layer, built for inputs of a `shape`, as a part of its `owner`.

    Its `kind` is a class, or a function that returns a layer. It has the dtype policy and the
    regularizer of its owner, and is frozen where that is.
    """
    layer = kind(*arguments, dtype=options.pop("dtype", owner.dtype_policy), **options)
    layer.build(shape)
    layer.trainable = owner.trainable
    if owner.kernel_regularizer is not None:
        for weight in layer.weights:
            if weight.name in KERNELS:
                weight.regularizer = owner.kernel_regularizer
    return layer


def dense(
    owner: keras.layers.Layer, inputs: int, outputs: int, name: str, **options: Any
) -> keras.layers.Dense:
    """Return a dense layer from `inputs` to `outputs` channels as a part of its `owner`."""
    return child(owner, Dense, outputs, shape=(None, inputs), name=name, **options)
