"""Spatial-shift attention (S2-MLPv2)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=24,
    name="Spatial-shift attention (S2-MLPv2)",
    layers={
        "S2Attention": LayerRecord(
            orders={"expand": "branch by branch", "excite": "branch by branch"},
            cases=(
                image(8),
                image(8, reduction=2, use_bias=False),
            ),
            legal={"reduction": [1, 4, 100], "use_bias": [True, False]},
            drawn=("stack",),
        ),
    },
    input="image",
    summary=(
        "Shifts groups of channels by one pixel in four directions, and adds three versions of the "
        "image with weights."
    ),
    title="S2-MLPv2: Improved Spatial-Shift MLP Architecture for Vision",
    authors="Yu, Li, Cai, Sun, Li",
    year=2021,
    venue="",
    arxiv="2108.01072",
    reference="equations of the paper",
    aliases=("s2-mlp", "s2-mlpv2", "spatial shift"),
    use=(
        "The shifts bring values of neighbouring pixels to each position without any parameters, "
        "and split attention computes the weights of the versions. Use it in networks that only "
        "have dense layers, at any image size."
    ),
    flow=(
        "x -> dense to 3 C -> shift -> split attention -> dense to C -> y",
        "dense to 3 C -> shift, other directions -> split attention",
        "dense to 3 C -> no shift -> split attention",
    ),
    parameters="4 * C**2 + 4 * C * w + 4 * C",
    multiply_adds="4 * N * C**2 + 4 * C * w + 3 * N * C",
    maps="3 * C",
    options={"reduction": 4},
    symbols={"w": ("C / reduction", "max(1, C // reduction)")},
    needs=("C % 4 == 0",),
    related=("vip", "shuffle"),
)
