"""The types of the public signatures."""

from collections.abc import Mapping
from typing import Any, TypeAlias, TypedDict

import keras

Tensor: TypeAlias = Any
"""A tensor of the backend at hand, a NumPy array, or a `keras.KerasTensor`."""

Shape: TypeAlias = tuple[int | None, ...]
"""The shape of a tensor; `None` where a length is not known yet."""

TorchNames: TypeAlias = dict[str, Any]
"""Layers and variables by the names that the authors' PyTorch code gives them."""


class KerasArguments(TypedDict, total=False):
    """Keras' own arguments of a layer or network."""

    name: str | None
    dtype: str | keras.DTypePolicy | Mapping[str, Any] | None
    trainable: bool


class LayerArguments(KerasArguments, total=False):
    """The arguments of all layers; `kernel_regularizer` is that of each kernel inside."""

    kernel_regularizer: str | keras.regularizers.Regularizer | Mapping[str, Any] | None


class ImageArguments(LayerArguments, total=False):
    """The arguments of all layers on images."""

    data_format: str | None
