"""How the weights of a network are split over several devices."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from attn_core.layers._base import AttentionLayer, Split

STEM = "stem"
"""How the layers of a network's stem are named: no class owns them that could say what they are."""


@dataclass(frozen=True)
class Place:
    """The position of a layer in a model.

    Attributes:
        layer: The layer.
        owner: The layer or model that it is a part of; `None` for the whole.
        split: How its kernel is split.
    """

    layer: keras.layers.Layer
    owner: keras.layers.Layer | None
    split: Split


def layout_map(
    model: keras.layers.Layer,
    mesh: keras.distribution.DeviceMesh,
    *,
    axis: str = "model",
    min_size: int = 2**16,
) -> keras.distribution.LayoutMap:
    """Propose how to split each weight over the devices, for `keras.distribution.ModelParallel`.

    Projections are split as in Megatron-LM. Of two successive projections, the first is split by
    its outputs, together with its bias and its norm, and the second by its inputs. The tensors
    between the two stay on their device; after the second, one sum over the devices gives the
    result. Every weight has an entry. These weights are not split; every device has a full copy of

    - the stem, because its kernels are small and its images are large;
    - kernels of fewer than `min_size` numbers, because splitting them saves less than it costs;
    - kernels whose axis, or number of heads, is not divisible by the number of devices;
    - all weights that belong to no split kernel: tables, scales, the norms between blocks.

    Keras places a variable on the devices when it creates it, by its path. Therefore build the
    model again, with the same names, under the distribution. The results do not depend on the
    layout, except for rounding.

    Args:
        model: A built layer or model, of attn-core or with such layers in it.
        mesh: The devices, as a mesh with named axes.
        axis: The axis whose devices share the weights.
        min_size: Kernels with fewer numbers are not split.

    Returns:
        The `keras.distribution.LayoutMap` of all weights, by their paths.

    Raises:
        ValueError: If the model is not built, `mesh` is not a `DeviceMesh` or has no axis of that
            name, `min_size` is not a positive integer, or two weights have the same path.

    Example:
        >>> from keras.distribution import DeviceMesh
        >>> from attn_core import MBConv
        >>> layer = MBConv(64, name="block")
        >>> layer.build((None, 14, 14, 64))
        >>> mesh = DeviceMesh((1, 2), ("batch", "model"), ["cpu:0", "cpu:1"])
        >>> layouts = layout_map(layer, mesh, min_size=2**14)
        >>> [layouts[f"block/{name}/kernel"].axes for name in ("expand", "project", "squeeze")]
        [(None, 'model'), ('model', None), (None, None)]

    Reference:
        Shoeybi, Patwary, Puri, LeGresley, Casper, Catanzaro, "Megatron-LM: Training Multi-Billion
        Parameter Language Models Using Model Parallelism", 2019, arXiv:1909.08053.
    """
    target = f"{type(model).__name__} {getattr(model, 'name', '')!r}"
    if not isinstance(mesh, keras.distribution.DeviceMesh):
        raise ValueError(f"`mesh` must be a keras.distribution.DeviceMesh. Received: mesh={mesh!r}")
    if axis not in mesh.axis_names:
        raise ValueError(
            f"`axis` must be one of the axes of the mesh, {', '.join(mesh.axis_names)}. "
            f"Received: axis={axis!r}"
        )
    if not isinstance(min_size, int) or isinstance(min_size, bool) or min_size < 1:
        raise ValueError(f"`min_size` must be an integer >= 1. Received: min_size={min_size!r}")
    if not model.built:
        raise ValueError(f"{target} is not built: call it, or its `build`, before laying it out.")

    size = mesh.shape[list(mesh.axis_names).index(axis)]
    places = {id(weight): place for place in _places(model) for weight in place.layer.weights}
    layouts = keras.distribution.LayoutMap(mesh)
    by_outputs: set[int] = set()  # the layers whose outputs are split, by their id
    for weight in model.weights:
        if weight.path in set(layouts):
            raise ValueError(
                f"{target} has two weights of one path: give its layers names. "
                f"Received: {weight.path!r}"
            )
        split = _split_axis(weight, places[id(weight)], size, min_size, by_outputs)
        layouts[weight.path] = tuple(
            axis if part == split else None for part in range(len(weight.shape))
        )
    return layouts


def _places(
    layer: keras.layers.Layer, owner: keras.layers.Layer | None = None, split: Split = "outputs"
) -> Iterator[Place]:
    """Yield the places of a layer and of all layers in it, the outer ones first.

    What an owner declares of a child holds for the layers in it too, unless that child declares
    something else; what is whole stays whole.
    """
    yield Place(layer, owner, split)
    declared = layer.split if isinstance(layer, AttentionLayer) else {}
    for child in _children(layer):
        stem = isinstance(layer, keras.Model) and child.name.startswith(STEM)
        whole = stem or split == "whole"
        yield from _places(child, layer, "whole" if whole else declared.get(child.name, split))


def _children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _split_axis(
    weight: keras.Variable, place: Place, size: int, min_size: int, by_outputs: set[int]
) -> int | None:
    """Return the axis over which to split a weight, if any, and note whose outputs are split."""
    last = len(weight.shape) - 1
    leader = _leader(place)
    if leader is place.layer and weight.name == "kernel":
        axis = last - 1 if place.split in ("inputs", "head inputs") else last
        by_heads = place.split in ("heads", "head inputs")
        whole = (
            place.split == "whole"
            or math.prod(weight.shape) < min_size
            or (by_heads and getattr(place.owner, "num_heads", size) % size)
        )
    else:
        axis = last
        whole = id(leader) not in by_outputs
    if whole or weight.shape[axis] % size:
        return None
    if axis == last:
        by_outputs.add(id(place.layer))
    return axis


def _leader(place: Place) -> keras.layers.Layer | None:
    """Return the layer whose output channels this layer treats one by one, or the layer itself.

    `x_norm` is the norm of what `x` gives.
    """
    name = place.layer.name
    follows = place.owner.follows if isinstance(place.owner, AttentionLayer) else {}
    leader = follows.get(name, name.removesuffix("_norm"))
    if place.owner is None or leader == name:
        return place.layer
    return next((child for child in _children(place.owner) if child.name == leader), None)
