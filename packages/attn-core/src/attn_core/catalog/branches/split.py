"""Split attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=39,
    name="Split attention (ResNeSt)",
    layers={
        "SplitAttention": LayerRecord(
            cases=(
                image(8),
                image(12, filters=20, radix=3, groups=2),
                image(8, radix=1, groups=2, kernel_size=5),
            ),
            legal={
                "filters": [None, 12],
                "radix": [1, 2, 4],
                "groups": [1, 2],
                "reduction": [4, 100],
                "kernel_size": [1, 3],
            },
            drawn=("stack",),
        ),
    },
    input="image",
    summary="Adds the branches of a grouped convolution, weighted in each channel by a softmax over the branches.",
    title="ResNeSt: Split-Attention Networks",
    authors="Zhang, Wu, Zhang, Zhu, Lin, Zhang, Sun, He, Mueller, Manmatha, Li, Smola",
    year=2020,
    venue="CVPR Workshops 2022",
    arxiv="2004.08955",
    reference="zhanghang1989/ResNeSt",
    aliases=("resnest", "splat", "split-attention"),
    use=(
        "One grouped convolution computes all branches; with the default arguments it costs as "
        "much as one full convolution. Use it instead of the 3x3 convolution of a residual block."
    ),
    flow=(
        "x -> grouped conv, BN, relu -> split into blocks -> sum of the blocks -> mean over H, W "
        "-> dense, BN, relu -> dense, softmax -> weighted sum -> y",
        "split into blocks -> weighted sum",
    ),
    parameters="9 * C**2 + 6 * C + 3 * C * d + 3 * d",
    multiply_adds="9 * N * C**2 + 2 * N * C + 3 * C * d",
    maps="2 * C",
    options={"reduction": 4},
    symbols={"d": ("C radix / reduction", "max(2 * C // reduction, 32)")},
    needs=("C % 2 == 0",),
    tasks=("classification", "dense prediction"),
    related=("sk", "pyramid-squeeze", "se"),
    networks=("ResNeSt",),
)
