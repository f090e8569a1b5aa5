"""CrossFormer attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, image

RECORD = Mechanism(
    number=49,
    name="CrossFormer attention",
    layers={
        "CrossFormerAttention": LayerRecord(
            cases=(
                image(32, size=(4, 5), group_size=3, num_heads=8),
                image(
                    32,
                    size=(6, 5),
                    group_size=2,
                    interval=2,
                    num_heads=4,
                    qkv_bias=False,
                ),
                fixed_image(32, size=(3, 6), interval=2, num_heads=4),
            ),
            legal=None,
            no_gradient=("key/bias", "bias_3/bias"),
            drawn=("image",),
        ),
    },
    input="image",
    summary="Positions attend to each other in groups of either neighbouring or distant positions.",
    title=("CrossFormer: A Versatile Vision Transformer Hinging on Cross-scale Attention"),
    authors="Wang, Yao, Chen, Lin, Cai, He, Liu",
    year=2021,
    venue="ICLR 2022",
    arxiv="2108.00154",
    reference="cheerss/CrossFormer",
    aliases=("crossformer", "long short distance attention"),
    use=(
        "Groups of distant positions carry information across the image at a cost linear in the "
        "number of positions, and need no shifted windows. In the blocks of a transformer on "
        "images, use short and long distance alternately."
    ),
    flow=(
        "x -> groups, near or distant -> query -> scores / √d + bias -> softmax over the group -> *"
        " values -> output map -> y",
        "groups, near or distant -> key -> scores / √d + bias",
        "groups, near or distant -> value -> * values",
    ),
    parameters="4 * C**2 + 4 * C + 2 * p**2 + 11 * p + p * h + h",
    # Without the network of the biases, which does not depend on the image.
    multiply_adds="4 * P * C**2 + 2 * P * G**2 * C",
    maps="h * P * G**2",
    options={"group_size": 7, "num_heads": 8},
    symbols={
        "G": ("group size", "min(group_size, H, W)"),
        "h": ("heads", "num_heads"),
        "p": ("⌊C / 16⌋", "C // 16"),
        "P": ("positions, of sides rounded up to multiples of G", "-(-H // G) * -(-W // G) * G**2"),
    },
    needs=(
        "C % num_heads == 0",
        "C >= 16",
    ),
    tasks=("classification", "dense prediction"),
    related=("halo", "outlook", "coatnet"),
    small={"group_size": 4, "num_heads": 4},
)
