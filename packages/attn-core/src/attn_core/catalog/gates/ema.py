"""Efficient multi-scale attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=38,
    name="Efficient multi-scale attention (EMA)",
    layers={
        "EfficientMultiScaleAttention": LayerRecord(
            cases=(
                image(8, groups=2),
                image(4, groups=4),
            ),
            legal={"groups": [1, 2, 4, 8]},
            drawn=("image",),
        ),
    },
    input="image",
    summary=(
        "Rescales each pixel of a channel group by a gate that combines gates for rows and columns "
        "with a 3x3 convolution."
    ),
    title="Efficient Multi-Scale Attention Module with Cross-Spatial Learning",
    authors="Ouyang, He, Zhang, Luo, Guo, Zhan, Huang",
    year=2023,
    venue="ICASSP 2023",
    arxiv="2305.13563",
    reference="YOLOonMe/EMA-attention-module",
    aliases=("efficient multi-scale attention",),
    use=(
        "All groups share one small set of weights, so the layer has very few parameters. Use it "
        "in a detector, after the blocks of its backbone or neck."
    ),
    flow=(
        "x -> split into groups -> mean over W, conv, sigmoid -> * -> GroupNorm -> "
        "weighted sums -> sigmoid -> *#2 -> y",
        "split into groups -> mean over H, conv, sigmoid -> *",
        "split into groups -> *",
        "split into groups -> 3x3 conv -> weighted sums",
        "x -> *#2",
    ),
    parameters="10 * n**2 + 4 * n",
    multiply_adds="n * C * (H + W) + 9 * N * C * n + 3 * N * C",
    maps="N * C",
    options={"groups": 32},
    symbols={"n": ("C / groups", "C // groups")},
    needs=("C % groups == 0",),
    tasks=("classification", "dense prediction"),
    related=("coordinate", "sge", "shuffle"),
    small={"groups": 4},
)
