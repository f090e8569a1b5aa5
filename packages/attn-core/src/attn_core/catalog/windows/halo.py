"""Halo attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image, normal

RECORD = Mechanism(
    number=21,
    name="Halo attention",
    layers={
        "HaloAttention": LayerRecord(
            orders={
                "rows": "(offset, key minus query; channel of a head)",
                "columns": "(offset, key minus query; channel of a head)",
                "key_value": "of each head the key, then the value",
            },
            cases=(
                image(8, size=(4, 8), other=(8, 4), block_size=4, halo_size=1, num_heads=2),
                image(
                    8,
                    size=(4, 8),
                    other=(8, 4),
                    block_size=2,
                    halo_size=2,
                    num_heads=2,
                    mask_padding=True,
                    qkv_bias=True,
                ),
                image(
                    8, size=(4, 8), other=(8, 4), block_size=4, halo_size=1, num_heads=2, strides=2
                ),
            ),
            legal=None,
            zero=("halo_size",),
            one_position=False,
            required=lambda size: {"block_size": size.divisor(8)},
            drawn=("image",),
            starts={"rows": normal(0.5), "columns": normal(0.5)},
        ),
    },
    input="image",
    summary="Every block of the image attends to itself and to a halo around it.",
    title="Scaling Local Self-Attention for Parameter Efficient Visual Backbones",
    authors="Vaswani, Ramachandran, Srinivas, Parmar, Hechtman, Shlens",
    year=2021,
    venue="CVPR 2021",
    arxiv="2103.12731",
    reference="huggingface/pytorch-image-models",
    aliases=("halonet",),
    use=(
        "Attention stays local and its cost linear in the number of positions, but neighbouring "
        "blocks still exchange information. Use it instead of the 3x3 convolution of late stages."
    ),
    flow=(
        (
            "x -> blocks of b x b -> query -> scores / √d + offsets -> softmax over window -> * "
            "values -> y"
        ),
        "x -> windows with halo -> key -> scores / √d + offsets",
        "windows with halo -> value -> * values",
    ),
    parameters="3 * C**2 + 2 * (2 * w - 1) * d",
    multiply_adds="3 * N * C**2 + 2 * N * C * w**2 + 2 * N * C * w",
    maps="num_heads * N * w**2",
    options={"block_size": 7, "halo_size": 3, "num_heads": 8},
    symbols={
        "w": ("block_size + 2 halo_size", "block_size + 2 * halo_size"),
        "d": ("width of a head", "C // num_heads"),
    },
    needs=(
        "C % num_heads == 0",
        "H % block_size == 0",
        "W % block_size == 0",
    ),
    tasks=("classification", "dense prediction"),
    related=("outlook", "coatnet", "cot"),
    networks=("HaloNet",),
    small={"block_size": 4, "halo_size": 1, "num_heads": 4},
)
