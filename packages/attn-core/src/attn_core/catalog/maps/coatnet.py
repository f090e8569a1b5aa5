"""Relative self-attention and MBConv (CoAtNet)."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, image, normal

RECORD = Mechanism(
    number=20,
    name="Relative self-attention and MBConv (CoAtNet)",
    layers={
        "RelativeSelfAttention": LayerRecord(
            orders={
                "table": "(offset of row, then column, query minus key; head)",
                "qkv": "of each head the query, the key, then the value",
            },
            cases=(
                fixed_image(8, num_heads=2, key_dim=4),
                fixed_image(8, num_heads=2, key_dim=3, output_dim=10, qkv_bias=False),
            ),
            legal={"num_heads": [1, 2], "key_dim": [1, 4], "output_dim": [None, 6]},
            drawn=("image",),
            starts={"table": normal(0.02)},
        ),
        "MBConv": LayerRecord(
            cases=(
                image(8, filters=8),
                image(8, size=(6, 8), other=(4, 6), filters=12, strides=2, expansion=2),
            ),
            legal={
                "filters": [8],
                "expansion": [1, 2],
                "se_ratio": [0.25, 0.5],
                "kernel_size": [3, 5],
            },
            required=lambda size: {"filters": size.channels},
            family="blocks",
        ),
    },
    input="image",
    summary=(
        "Computes self-attention over all positions, with a learned bias for each offset between "
        "two of them."
    ),
    title="CoAtNet: Marrying Convolution and Attention for All Data Sizes",
    authors="Dai, Liu, Le, Tan",
    year=2021,
    venue="NeurIPS 2021",
    arxiv="2106.04803",
    reference="huggingface/pytorch-image-models",
    aliases=("relative attention", "mbconv"),
    use=(
        "The bias acts like a convolution, because it depends only on the offset, while the scores "
        "depend on the content. Use it in the late stages of a network, after stages of `MBConv`."
    ),
    flow=(
        (
            "x -> query -> scores / √d + bias of the offset -> softmax over keys -> * values -> "
            "output map -> y"
        ),
        "x -> key -> scores / √d + bias of the offset",
        "x -> value -> * values",
    ),
    parameters="4 * C * h * d + 3 * h * d + C + h * (2 * H - 1) * (2 * W - 1)",
    multiply_adds="4 * N * C * h * d + 2 * N**2 * h * d",
    maps="h * N**2",
    options={"num_heads": 8, "key_dim": 32},
    symbols={"h": ("heads", "num_heads"), "d": ("key_dim", "key_dim")},
    tasks=("classification", "dense prediction"),
    related=("dot-product", "halo", "mobilevit"),
    networks=("CoAtNet",),
    small={"num_heads": 4, "key_dim": 8},
)
