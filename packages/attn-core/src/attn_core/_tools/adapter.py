"""One adapter between images, tokens and signals: reshapes around a layer."""

import math
from collections.abc import Callable

import keras

from attn_core import catalog
from attn_core.layers._base import ImageLayer, TokenLayer


def call_on_image(
    layer: keras.layers.Layer,
    x: keras.KerasTensor,
    *,
    call: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None,
    data_format: str = "channels_last",
    rename: Callable[[str], str] = str,
) -> keras.KerasTensor:
    """Call a layer on an image; a layer on tokens gets its positions, row by row.

    A volume is treated likewise. A gate on images alone gets a signal, `(B, T, C)`, as an image of
    one column.

    Args:
        layer: The layer, which keeps the shape of its input.
        x: The symbolic image, of a known size if the layer takes tokens.
        call: What calls the layer, if not the layer itself.
        data_format: The data format of the image.
        rename: Makes the names of the reshapes unique in a model.
    """
    call = layer if call is None else call
    channels_first = data_format == "channels_first"
    if not (takes_tokens(layer, x) or _gates_a_signal(layer, x)):
        return call(x)

    def reshape(kind: type[keras.layers.Layer], target: tuple, name: str) -> keras.layers.Layer:
        return kind(target, name=rename(f"{layer.name}_{name}"), dtype=layer.dtype_policy)

    if _gates_a_signal(layer, x):
        steps, channels = (-1 if length is None else length for length in x.shape[1:])
        column = (steps, channels, 1) if channels_first else (steps, 1, channels)
        x = call(reshape(keras.layers.Reshape, column, "column")(x))
        return reshape(keras.layers.Reshape, (steps, channels), "signal")(x)
    last = len(x.shape) - 1
    if channels_first:
        x = reshape(keras.layers.Permute, (*range(2, last + 1), 1), "channels_last")(x)
    *size, channels = x.shape[1:]
    x = call(reshape(keras.layers.Reshape, (math.prod(size), channels), "tokens")(x))
    x = reshape(keras.layers.Reshape, (*size, channels), "image")(x)
    if channels_first:
        x = reshape(keras.layers.Permute, (last, *range(1, last)), "channels_first")(x)
    return x


def takes_tokens(layer: keras.layers.Layer, x: keras.KerasTensor) -> bool:
    """Return whether `x` is an image or a volume, and the layer takes tokens."""
    return isinstance(layer, TokenLayer) and len(x.shape) in (4, 5)


def _gates_a_signal(layer: keras.layers.Layer, x: keras.KerasTensor) -> bool:
    """Return whether `x` is a signal and the layer is a gate on images alone."""
    if len(x.shape) != 3 or not isinstance(layer, ImageLayer) or 1 in layer.spatial_axes:
        return False
    known = [catalog.LAYERS.get(kind.__name__) for kind in type(layer).__mro__]
    return any(record is not None and record.family == "gates" for record in known)
