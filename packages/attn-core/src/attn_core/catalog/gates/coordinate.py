"""Coordinate attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=27,
    name="Coordinate attention",
    layers={
        "CoordinateAttention": LayerRecord(
            cases=(
                image(8),
                image(8, reduction=2, min_width=2, use_bias=False),
            ),
            legal={"reduction": [1, 4], "min_width": [1, 8], "use_bias": [True, False]},
            drawn=("image", "image"),
        ),
    },
    input="image",
    summary="Rescales each row and each column of the image by weights computed from its average.",
    title="Coordinate Attention for Efficient Mobile Network Design",
    authors="Hou, Zhou, Feng",
    year=2021,
    venue="CVPR 2021",
    arxiv="2103.02907",
    reference="houqb/CoordAttention",
    aliases=("coordatt", "coord", "ca"),
    use=(
        "Averages along rows and columns keep the positions that a global average loses, at about "
        "the cost of squeeze-and-excitation. Use it in mobile networks, instead of "
        "squeeze-and-excitation."
    ),
    flow=(
        (
            "x -> mean over W -> concatenate -> dense to m, BN, h-swish -> dense to C, sigmoid (rows) -> * "
            "-> y"
        ),
        (
            "x -> mean over H -> concatenate -> dense to m, BN, h-swish -> dense to C, sigmoid (columns) -> *"
        ),
        "x -> *",
    ),
    parameters="3 * C * m + 2 * C + 3 * m",
    multiply_adds="2 * C * m * (H + W)",
    maps="H * C + W * C",
    options={"reduction": 32, "min_width": 8},
    symbols={"m": ("hidden width", "max(min_width, C // reduction)")},
    tasks=("classification", "dense prediction", "mobile"),
    related=("se", "triplet", "cbam"),
    small={"reduction": 4},
)
