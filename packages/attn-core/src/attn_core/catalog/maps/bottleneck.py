"""Bottleneck self-attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, normal

RECORD = Mechanism(
    number=47,
    name="Bottleneck self-attention (BoTNet)",
    layers={
        "BottleneckSelfAttention": LayerRecord(
            orders={
                "rows": "(offset, key minus query; channel of a head)",
                "columns": "(offset, key minus query; channel of a head)",
            },
            cases=(
                fixed_image(8, num_heads=2),
                fixed_image(
                    8,
                    num_heads=2,
                    key_dim=3,
                    output_dim=10,
                    qkv_bias=True,
                    scale_pos_embed=True,
                ),
            ),
            legal={
                "num_heads": [1, 2],
                "key_dim": [None, 3],
                "output_dim": [None, 6],
                "scale_pos_embed": [True, False],
            },
            drawn=("image",),
            starts={"rows": normal(0.5), "columns": normal(0.5)},
        ),
    },
    input="image",
    summary=(
        "Computes self-attention over all positions, with learned vectors for the offsets between "
        "positions."
    ),
    title="Bottleneck Transformers for Visual Recognition",
    authors="Srinivas, Lin, Parmar, Shlens, Abbeel, Vaswani",
    year=2021,
    venue="CVPR 2021",
    arxiv="2101.11605",
    reference="huggingface/pytorch-image-models",
    aliases=("botnet", "bottleneck transformer"),
    use=(
        "The score of an offset depends on the query, so a position can attend to a certain "
        "content and to a certain place. Use it instead of the 3x3 convolution of the last "
        "residual blocks."
    ),
    flow=(
        ("x -> query -> scores / √d -> + -> softmax over keys -> * values -> y"),
        "query -> scores of offsets -> +",
        "x -> key -> scores / √d",
        "x -> value -> * values",
    ),
    parameters="3 * C**2 + 2 * (H + W - 1) * d",
    multiply_adds="3 * N * C**2 + 2 * N**2 * C + N * (H + W) * C",
    maps="num_heads * N**2",
    options={"num_heads": 4},
    symbols={"d": ("width of a head", "C // num_heads")},
    needs=(
        "C % num_heads == 0",
        "C % 8 == 0",
    ),
    tasks=("classification", "dense prediction"),
    related=("coatnet", "halo", "dot-product"),
)
