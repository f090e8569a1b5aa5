"""Window attention (Swin)."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, image, normal

RECORD = Mechanism(
    number=44,
    name="Window attention (Swin)",
    layers={
        "WindowAttention": LayerRecord(
            cases=(
                image(8, size=(6, 9), other=(9, 12), window_size=3, num_heads=2),
                image(
                    8,
                    size=(6, 9),
                    other=(9, 6),
                    window_size=3,
                    shift_size=1,
                    num_heads=4,
                    qkv_bias=False,
                ),
                fixed_image(8, size=(3, 6), window_size=4, shift_size=2, num_heads=2),
            ),
            legal=None,
            zero=("shift_size",),
            required=lambda size: {"window_size": size.divisor(8)},
            one_position=True,
            no_gradient=("qkv/bias",),
            drawn=("image",),
            starts={"table": normal(0.02)},
            orders={
                "table": "(offset of row, then column, query minus key; head)",
                "qkv": "all queries, all keys, all values, each head by head",
            },
        ),
    },
    input="image",
    summary=(
        "The pixels of each window attend to each other, with a learned bias for each relative "
        "position."
    ),
    title="Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
    authors="Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo",
    year=2021,
    venue="ICCV 2021",
    arxiv="2103.14030",
    reference="microsoft/Swin-Transformer",
    aliases=("swin", "shifted window attention", "w-msa", "sw-msa"),
    use=(
        "Its cost grows with the number of positions, so you can use it on large feature maps. Use "
        "it in every block of a transformer, with `shift_size=window_size // 2` in every second "
        "block."
    ),
    flow=(
        "x -> roll -> windows -> query -> scores / √d + bias -> softmax over the window -> *"
        " values -> output map -> roll back -> y",
        "windows -> key -> scores / √d + bias",
        "windows -> value -> * values",
    ),
    parameters="4 * C**2 + 4 * C + (2 * s - 1)**2 * h",
    multiply_adds="4 * N * C**2 + 2 * N * s**2 * C",
    maps="h * N * s**2",
    options={"window_size": 7, "num_heads": 8},
    symbols={"s": ("window size", "min(window_size, H, W)"), "h": ("heads", "num_heads")},
    needs=(
        "C % num_heads == 0",
        "H % s == 0",
        "W % s == 0",
    ),
    tasks=("classification", "dense prediction"),
    related=("halo", "neighborhood", "cross-former"),
    networks=("Swin",),
    small={"window_size": 4, "num_heads": 4},
)
