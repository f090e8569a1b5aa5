"""Deformable attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, normal

RECORD = Mechanism(
    number=50,
    name="Deformable attention (DAT)",
    layers={
        "DeformableAttention": LayerRecord(
            orders={"table": "(head; offset of row; offset of column), query minus key"},
            cases=(
                fixed_image(8, num_heads=4, groups=2, kernel_size=3),
                fixed_image(
                    8,
                    num_heads=2,
                    groups=1,
                    kernel_size=3,
                    strides=1,
                    offset_range_factor=2,
                    grid="centers",
                ),
                fixed_image(8, num_heads=2, groups=2, kernel_size=2, offset_range_factor=1.5),
            ),
            legal={
                "num_heads": [2],
                "groups": [1, 2],
                "kernel_size": [3],
                "strides": [1, 2],
                "offset_range_factor": [None, 2],
                "grid": ["centers"],
            },
            one_position=False,
            no_gradient=("key/bias",),
            drawn=("bars",),
            starts={"table": normal(0.01)},
        ),
    },
    input="image",
    summary=(
        "All positions attend to the points of a grid, which are moved by offsets computed from "
        "the queries."
    ),
    title="Vision Transformer with Deformable Attention",
    authors="Xia, Pan, Song, Li, Huang",
    year=2022,
    venue="CVPR 2022",
    arxiv="2201.00520",
    reference="LeapLabTHU/DAT",
    aliases=("dat", "dat++"),
    use=(
        "There are only a few keys and values, taken from the places that matter in the image, so "
        "global attention costs little. Use it in the late stages of a network, alternating with "
        "attention in windows or neighbourhoods."
    ),
    flow=(
        "x -> query -> scores / √d + bias of the offset -> softmax over points -> * values -> "
        "output map -> y",
        "query -> depthwise conv, norm, gelu -> offsets -> moved points -> sample x -> key -> scores"
        " / √d + bias of the offset",
        "x -> sample x -> value -> * values",
        "moved points -> scores / √d + bias of the offset",
    ),
    parameters="4 * C**2 + 4 * C + (k**2 + 5) * C // g + h * (2 * H - 1) * (2 * W - 1)",
    multiply_adds=(
        "2 * N * C**2 + 2 * P * C**2 + 2 * N * P * C + P * C * (k**2 + 2) + 4 * P * C"
        " + h * P * H * (2 * W - 1) * (2 * H - 1 + W)"
    ),
    maps="h * N * P",
    options={"num_heads": 8, "groups": 4, "kernel_size": 5},
    symbols={
        "h": ("heads", "num_heads"),
        "g": ("groups", "groups"),
        "k": ("kernel size", "kernel_size"),
        "P": ("points, N / strides²", "-(-H // 2) * -(-W // 2)"),
    },
    needs=(
        "C % num_heads == 0",
        "num_heads % groups == 0",
        "kernel_size % 2 == 1",
        "min(H, W) >= 3",
    ),
    tasks=("classification", "dense prediction"),
    related=("dot-product", "bottleneck", "halo"),
    small={"num_heads": 4, "groups": 2, "kernel_size": 3},
)
