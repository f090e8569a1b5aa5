"""Contextual transformer (CoT)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=23,
    name="Contextual transformer (CoT)",
    layers={
        "CoTAttention": LayerRecord(
            orders={
                "kernels": "kernel by kernel, of each its entries row by row; channel c uses kernel c modulo their number",
                "select": "channel by channel, of each the dynamic, then the static context",
            },
            cases=(
                image(16),
                image(16, kernel_size=5, key_groups=2, share_planes=4),
            ),
            legal={"kernel_size": [3, 5], "key_groups": [1, 4], "share_planes": [2, 8]},
            drawn=("image", "stack"),
        ),
    },
    input="image",
    summary=(
        "Adds the static context of a convolution and a local attention that is computed from this "
        "context."
    ),
    title="Contextual Transformer Networks for Visual Recognition",
    authors="Li, Yao, Pan, Mei",
    year=2021,
    venue="",
    arxiv="2107.12292",
    reference="JDAI-CV/CoTNet",
    aliases=("cotnet", "contextual transformer"),
    use=(
        "It replaces the 3x3 convolution of a residual block: one convolution computes the "
        "context, from which local kernels are predicted. Use it where attention has to be local "
        "and as cheap as a convolution."
    ),
    flow=(
        "x -> value -> local kernels -> BN, silu -> weighted sum -> y",
        "x -> k x k conv -> join with x, two 1x1 convs -> local kernels",
        "x -> join with x, two 1x1 convs",
        "k x k conv -> weighted sum",
    ),
    parameters="77 * C**2 / 16 + 3 * C * e + 99 * C / 8 + 3 * e",
    multiply_adds="77 * N * C**2 / 16 + 3 * C * e + 11 * N * C",
    maps="9 * N * C / 8 + 2 * C",
    symbols={"e": ("hidden width of the fusion", "max(C // 2, 32)")},
    needs=("C % 8 == 0",),
    tasks=("classification", "dense prediction"),
    related=("outlook", "halo", "sk"),
    networks=("CoTNet",),
)
