"""Outlook attention (VOLO)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=18,
    name="Outlook attention (VOLO)",
    layers={
        "OutlookAttention": LayerRecord(
            orders={
                "attention": "head by head, of each the queries row by row, of each its keys row by row"
            },
            cases=(
                image(8, num_heads=2),
                image(8, num_heads=2, kernel_size=5, strides=2, qkv_bias=True),
            ),
            legal={"num_heads": [1, 2], "kernel_size": [1, 3, 5], "strides": [1, 2, 3]},
            example={"num_heads": 8},
            drawn=("image",),
        ),
    },
    input="image",
    summary=(
        "Every position predicts the attention map of its neighbourhood from its own features "
        "alone."
    ),
    title="VOLO: Vision Outlooker for Visual Recognition",
    authors="Yuan, Hou, Jiang, Feng, Yan",
    year=2021,
    venue="",
    arxiv="2106.13112",
    reference="sail-sg/volo",
    aliases=("volo", "outlooker"),
    use=(
        "One dense layer predicts the map of a window from its centre, without queries and keys. "
        "Use it on large feature maps early in a network, where attention between all positions "
        "would cost too much."
    ),
    flow=(
        "x -> value -> k x k windows -> weighted sum -> fold: add overlaps -> output map -> y",
        "x -> map of k² x k² -> softmax -> weighted sum",
    ),
    parameters="2 * C**2 + C + h * k**4 * (C + 1)",
    multiply_adds="2 * N * C**2 + N * C * k**4 * (h + 1)",
    maps="h * N * k**4",
    options={"num_heads": 8, "kernel_size": 3},
    symbols={"h": ("heads", "num_heads"), "k": ("kernel size", "kernel_size")},
    needs=(
        "C % num_heads == 0",
        "kernel_size % 2 == 1",
    ),
    tasks=("classification", "dense prediction"),
    related=("halo", "cot"),
    networks=("VOLO",),
    small={"num_heads": 2},
)
