"""Efficient multi-head self-attention (ResT)."""

from attn_core.catalog._record import GLOROT, LayerRecord, Mechanism, image, tokens

RECORD = Mechanism(
    number=12,
    name="Efficient multi-head self-attention (ResT)",
    layers={
        "EfficientMultiHeadSelfAttention": LayerRecord(
            orders={
                "transform": "(output head; input head)",
                "transform_bias": "(output head)",
                "key_value": "first all keys, then all values, each head by head",
            },
            cases=(
                image(8, num_heads=2),
                image(8, num_heads=2, sr_ratio=2, qkv_bias=True),
                image(8, num_heads=1, key_dim=3, value_dim=5, dropout=0.1),
                tokens(8, other=16, num_heads=2),
            ),
            legal={
                "num_heads": [1, 4],
                "sr_ratio": [1, 2],
                "apply_transform": [True, False],
                "qkv_bias": [True],
            },
            example={"sr_ratio": 2},
            no_gradient=("transform_bias", "key_value/bias", "reduce_norm/beta"),
            drawn=("image",),
            starts={"transform": GLOROT, "transform_bias": 0},
        ),
    },
    input="image or token",
    summary=(
        "Computes dot-product attention to a downsampled image, and mixes the scores of the heads."
    ),
    title="ResT: An Efficient Transformer for Visual Recognition",
    authors="Zhang, Yang",
    year=2021,
    venue="NeurIPS 2021",
    arxiv="2105.13677",
    reference="wofmanaf/ResT",
    aliases=("rest", "efficient multi-head self-attention"),
    use=(
        "A strided convolution makes the image smaller before keys and values are computed, and a "
        "1x1 convolution mixes the scores of the heads. Use it for self-attention on large feature "
        "maps, with a reduction that decreases from stage to stage."
    ),
    flow=(
        (
            "x -> query -> scores / √d -> conv over heads -> softmax, instance norm -> * values "
            "-> output map -> y"
        ),
        "x -> strided depthwise conv, LN -> key -> scores / √d",
        "strided depthwise conv, LN -> value -> * values",
    ),
    parameters="4 * C**2 + (s + 1)**2 * C + 4 * C + h**2 + h",
    multiply_adds="2 * N * C**2 + 2 * M * C**2 + (s + 1)**2 * M * C + 2 * N * M * C + h**2 * N * M",
    maps="h * N * M",
    options={"num_heads": 8, "sr_ratio": 2},
    symbols={
        "s": ("sr_ratio", "sr_ratio"),
        "M": ("N / s²", "-(-H // s) * -(-W // s)"),
        "h": ("heads", "num_heads"),
    },
    needs=(
        "C % num_heads == 0",
        "num_heads >= 2",
        "sr_ratio % 2 == 0",
        "min(H, W) >= 2",
    ),
    tasks=("classification", "dense prediction"),
    related=("dot-product", "halo"),
    networks=("ResT",),
    small={"num_heads": 4},
)
