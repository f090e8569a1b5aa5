"""CBAM."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=7,
    name="CBAM",
    layers={
        "CBAM": LayerRecord(
            cases=(
                image(8, reduction=4),
                image(8, reduction=2, kernel_size=3, pool_types=("avg", "max", "lp", "lse")),
                image(8, reduction=4, spatial=False, use_bias=False),
            ),
            legal={
                "reduction": [2],
                "kernel_size": [3, 7],
                "spatial": [True, False],
                "use_bias": [True, False],
                "pool_types": [("avg",), ("max", "lse"), ("lp", "avg")],
            },
            permutable=({"reduction": 2, "spatial": False},),
            drawn=("bars", "image"),
        ),
    },
    input="image",
    summary=(
        "Rescales first the channels, then the positions, by weights computed from maxima and "
        "means."
    ),
    title="CBAM: Convolutional Block Attention Module",
    authors="Woo, Park, Lee, Kweon",
    year=2018,
    venue="ECCV 2018",
    arxiv="1807.06521",
    reference="Jongchan/attention-module",
    aliases=("convolutional block attention module",),
    use=(
        "It uses maxima as well as means of the feature map, and its second gate rescales the "
        "positions. Use it where the position of an object matters, at the end of each residual "
        "branch."
    ),
    flow=(
        (
            "x -> mean and max over H, W -> shared MLP -> sum, sigmoid -> * -> max and mean over "
            "C -> 7x7 conv, BN, sigmoid -> *#2 -> y"
        ),
        "x -> *",
        "* -> *#2",
    ),
    parameters="2 * C * w + C + w + 2 * k**2 + 2",
    multiply_adds="4 * C * w + 2 * k**2 * N",
    maps="C + N",
    options={"reduction": 16, "kernel_size": 7},
    symbols={"w": ("C / reduction", "max(1, C // reduction)"), "k": ("kernel size", "kernel_size")},
    needs=("kernel_size % 2 == 1",),
    tasks=("classification", "dense prediction"),
    related=("bam", "se", "triplet", "coordinate"),
    networks=("AttentionResNet",),
    small={"reduction": 4},
)
