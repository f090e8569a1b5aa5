"""Where the weights of a network live when several devices share it."""

import math

import keras

ROWS = frozenset(
    {"channel_last", "contract", "excite", "memory_value", "project", "reduce", "select"}
)
"""Layers that take what a wider layer before them gave: they are split by their inputs."""

HEADS = frozenset(
    {"attention", "key", "key_value", "project", "qkv", "query", "query_key_value", "value"}
)
"""Layers that give, or take, the heads of an attention: a device gets whole heads or none."""

LEADERS = {"depthwise": "expand", "norm": "convolution"}
"""Layers that treat each channel by itself, and whose channels: those of `x` for `x_norm`."""


def layout_map(
    model, mesh: keras.distribution.DeviceMesh, *, axis: str = "model", min_size: int = 2**16
) -> keras.distribution.LayoutMap:
    """Propose where each weight of a layer or model lives, for `keras.distribution.ModelParallel`.

    Projections are split as Megatron-LM splits them: the first of two by its outputs, with its bias
    and its norm, the second by its inputs, so that what lies between them stays on its device and
    one sum over the devices completes the second. Every weight has an entry. Whole, that is on
    every device, stay

    - the stem: its kernels are small, its images large;
    - kernels of fewer than `min_size` numbers: splitting them saves less than it costs;
    - kernels whose axis, or whose heads, the devices do not divide evenly;
    - what is no kernel and follows none: tables, scales, the norms between blocks.

    Keras places a variable when it creates it, by its path: build the model once more, with the
    same names, under the distribution. Whatever the layout, the numbers are the same up to the
    order of sums.

    Args:
        model: A built layer or model, of attn-core or with such layers in it.
        mesh: The devices, in axes with names.
        axis: The axis whose devices share the weights.
        min_size: Kernels of fewer numbers stay whole.

    Returns:
        The `keras.distribution.LayoutMap` of all weights, by their paths.

    Raises:
        ValueError: If the model is not built, `mesh` is not a `DeviceMesh`, has no axis of that
            name, `min_size` is not a positive integer, or two weights have one path.

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
    heads = {
        layer.path: layer.num_heads
        for layer in model._flatten_layers()
        if hasattr(layer, "num_heads")
    }
    layouts = keras.distribution.LayoutMap(mesh)
    by_outputs = set()  # the layers whose outputs are split
    for weight in model.weights:
        if weight.path in set(layouts):
            raise ValueError(
                f"{target} has two weights of one path: give its layers names. "
                f"Received: {weight.path!r}"
            )
        split = _split(weight, size, min_size, heads, by_outputs)
        layouts[weight.path] = tuple(
            axis if part == split else None for part in range(len(weight.shape))
        )
    return layouts


def _split(weight, size: int, min_size: int, heads: dict, by_outputs: set) -> int | None:
    """Return the axis over which to split a weight, if any, and note whose outputs are split."""
    layer, _, kind = weight.path.rpartition("/")
    owner, _, name = layer.rpartition("/")
    last = len(weight.shape) - 1
    leader = LEADERS.get(name, name.removesuffix("_norm"))
    if kind == "kernel" and leader == name:
        role = owner.rpartition("/")[2] if name == "convolution" else name
        split = last - 1 if role in ROWS else last
        whole = (
            any(part.startswith(("stem", "shortcut")) for part in weight.path.split("/"))
            or math.prod(weight.shape) < min_size
            or (role in HEADS and heads.get(owner, size) % size)
        )
    else:
        split = last
        whole = f"{owner}/{leader}".lstrip("/") not in by_outputs
    if whole or weight.shape[split] % size:
        return None
    if split == last:
        by_outputs.add(layer)
    return split
