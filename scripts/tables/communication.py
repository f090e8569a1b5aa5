"""What a training step of CoAtNet-4 sends, computed from shapes: for docs/distribution.md."""

import math

import keras
from attn_core.distribution import layout_map
from attn_core.models import CoAtNet

from scripts.tables.markdown import table

IMAGES = 4096
"""Images in a step, over all devices."""
BYTES = 4
"""Bytes of a number in float32."""
BANDWIDTH = 50e9
"""Bytes a second that a device sends, assumed."""
DEVICES = (1, 8, 64, 512, 4096)


def ring(size: float, devices: int) -> float:
    """Return the bytes that each device sends in a ring all-reduce of `size` bytes."""
    return 2 * (devices - 1) / devices * size


def gradient_bytes(weights, axes: dict, data: int, model: int) -> float:
    """Return what each device sends to add up gradients: its part of them, over `data` devices."""
    held = sum(
        math.prod(weight.shape) / (model if any(axes[weight.path]) else 1) for weight in weights
    )
    return ring(BYTES * held, data)


def activation_bytes(blocks, axes: dict, data: int, model: int) -> float:
    """Return what each device sends to add up activations, over the `model` devices of a replica.

    A split pair of projections needs two sums: of its output, forward, and of the gradient of its
    input, backward. Sums of one number a channel, in gates and norms, are left out.

    Args:
        blocks: Name, input shape and output shape of each block, `(H, W, C)`.
        axes: The axes of every weight, by path.
        data: Number of replicas.
        model: Number of devices of a replica.
    """
    numbers = 0
    for name, (height, width, channels), (rows, columns, filters) in blocks:
        if any(axes.get(f"{name}/expand/kernel", ())):  # MBConv, which strides inside the pair
            numbers += height * width * channels + rows * columns * filters
        if any(axes.get(f"{name}/attention/qkv/kernel", ())):  # pooled before
            numbers += rows * columns * (channels + filters)
        if any(axes.get(f"{name}/mlp/expand/kernel", ())):
            numbers += rows * columns * 2 * filters
    return ring(BYTES * numbers * IMAGES / data, model)


def layouts() -> list[tuple[int, int]]:
    """Return the ways to share the work: replicas, devices of each."""
    ways = [(devices, 1) for devices in DEVICES]
    ways += [(devices // 8, 8) for devices in DEVICES[1:]]
    return ways + [(1, devices) for devices in DEVICES[2:]]


def row(weights, blocks, axes: dict, data: int, model: int) -> list[str]:
    """Return a line of the table."""
    numbers = sum(math.prod(weight.shape) for weight in weights)
    split = sum(math.prod(weight.shape) for weight in weights if any(axes[weight.path]))
    gradients = gradient_bytes(weights, axes, data, model)
    activations = activation_bytes(blocks, axes, data, model)
    return [
        f"{data * model:,}",
        f"{data:,} x {model:,}",
        f"{IMAGES / data:g}",
        f"{split / numbers:.1%}",
        f"{gradients / 1e9:.2f}",
        f"{activations / 1e9:,.2f}",
        f"{(gradients + activations) / BANDWIDTH:.3f}",
    ]


def text() -> str:
    """Return the table in Markdown."""
    with keras.StatelessScope(initialize_variables=False):  # shapes alone
        network = CoAtNet.from_variant("coatnet_4")
    blocks = [
        (layer.name, layer.input.shape[1:], layer.output.shape[1:])
        for layer in network.layers
        if "_block_" in layer.name
    ]
    headings = ["Devices", "Replicas x devices of each", "Images a replica", "Weights split"]
    headings += ["Gradients, GB", "Activations, GB", "Seconds"]
    rows = []
    for data, model in layouts():
        names = [f"cpu:{number}" for number in range(data * model)]
        mesh = keras.distribution.DeviceMesh((data, model), ("batch", "model"), names)
        places = layout_map(network, mesh)
        axes = {path: places[path].axes for path in places}
        if model == 1:
            axes = dict.fromkeys(axes, ())
        rows.append(row(network.trainable_weights, blocks, axes, data, model))
    return table(headings, rows, numbers=len(headings))
