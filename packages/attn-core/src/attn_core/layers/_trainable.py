"""Which layers inside a layer or network are frozen: read, and set again in a copy."""

from collections.abc import Mapping

import keras


def trainable_flags(owner: keras.layers.Layer, prefix: str = "") -> dict[str, bool]:
    """Return, by path, the `trainable` flags of inner layers that differ from their owner's."""
    flags = {}
    for layer in owner._layers:
        path = f"{prefix}{layer.name}"
        if layer.trainable != owner.trainable:
            flags[path] = layer.trainable
        flags |= trainable_flags(layer, f"{path}/")
    return flags


def set_trainable_flags(owner: keras.layers.Layer, flags: Mapping[str, bool]) -> None:
    """Set the flags that `trainable_flags` returned; skip paths that do not exist."""
    for path, trainable in flags.items():  # owners come before their inner layers
        layer: keras.layers.Layer | None = owner
        for name in path.split("/"):
            layer = next((one for one in layer._layers if one.name == name), None)
            if layer is None:
                break
        else:
            layer.trainable = trainable
