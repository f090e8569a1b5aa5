"""MobileViT block."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=28,
    name="MobileViT block",
    layers={
        "MobileViTBlock": LayerRecord(
            orders={
                "query_key_value": "first all queries, then all keys, then all values, each head by head"
            },
            cases=(
                image(8, size=(4, 6), other=(6, 2), transformer_dim=8, num_blocks=1),
                image(
                    8,
                    other=(3, 4),
                    transformer_dim=8,
                    ffn_dim=12,
                    head_dim=4,
                    num_blocks=1,
                    patch_size=(2, 3),
                    dropout=0.1,
                ),
            ),
            legal={"transformer_dim": [4, 8], "num_blocks": [1], "patch_size": [1, 2, 3]},
        ),
    },
    input="image",
    summary=(
        "Combines convolutions with a transformer, in which pixels at the same place of their "
        "patches attend to each other."
    ),
    title="MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision Transformer",
    authors="Mehta, Rastegari",
    year=2021,
    venue="ICLR 2022",
    arxiv="2110.02178",
    reference="apple/ml-cvnets",
    aliases=("mobilevit attention",),
    use=(
        "It is a whole block and not a gate, and comes between the inverted residuals of a light "
        "network. Use it where a small convolutional network needs information from the whole "
        "image."
    ),
    flow=(
        (
            "x -> 3x3 conv -> 1x1 conv to d -> unfold patches -> transformer x L -> fold -> 1x1 "
            "conv to C -> join with x -> 3x3 conv#2 -> y"
        ),
        "x -> join with x",
    ),
    parameters="27 * C**2 + 6 * C + 2 * C * d + L * (8 * d**2 + 11 * d) + 2 * d",
    multiply_adds="27 * N * C**2 + 2 * N * C * d + L * (8 * N * d**2 + N**2 * d / 2)",
    options={"transformer_dim": 144, "num_blocks": 2},
    symbols={
        "d": ("transformer_dim", "transformer_dim"),
        "L": ("transformer layers", "num_blocks"),
    },
    needs=(
        "transformer_dim % 4 == 0",
        "H % 2 == 0",
        "W % 2 == 0",
    ),
    tasks=("classification", "dense prediction", "mobile"),
    related=("mobilevit2", "coatnet"),
    networks=("MobileViT",),
    small={"transformer_dim": 32, "num_blocks": 1},
)
