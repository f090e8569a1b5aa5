"""Criss-cross attention (CCNet)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=42,
    name="Criss-cross attention (CCNet)",
    layers={
        "CrissCrossAttention": LayerRecord(
            cases=(
                image(8, reduction=4),
                image(8, reduction=2, recurrence=2),
            ),
            legal={"reduction": [1, 100], "recurrence": [1, 2, 3]},
            no_gradient=("key/bias",),
            drawn=("image", "image"),
            starts={"gamma": 0},
        ),
    },
    input="image",
    summary="Adds to every position a weighted sum of the positions of its column and its row.",
    title="CCNet: Criss-Cross Attention for Semantic Segmentation",
    authors="Huang, Wang, Wei, Huang, Shi, Liu, Huang",
    year=2018,
    venue="ICCV 2019",
    arxiv="1811.11721",
    reference="speedinghzl/CCNet",
    aliases=("ccnet", "cc", "crisscross"),
    use=(
        "Its cost grows with N(H + W), not with the square of N, and with two passes every "
        "position receives information from the whole image. Use it with `recurrence=2` on the "
        "last feature map of a segmentation network."
    ),
    flow=(
        "x -> query -> scores of column and row -> softmax -> * values -> gamma * -> + -> y",
        "x -> key -> scores of column and row",
        "x -> value -> * values",
        "x -> +",
    ),
    parameters="C**2 + 2 * C * d + C + 2 * d + 1",
    multiply_adds="N * C**2 + 2 * N * C * d + N * (H + W) * (C + d) + N * C",
    maps="N * (H + W)",
    options={"reduction": 8},
    symbols={"d": ("C / reduction", "max(1, C // reduction)")},
    tasks=("dense prediction",),
    related=("dual", "non-local", "coordinate"),
)
