"""Neighbourhood attention (NATTEN)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image, normal

RECORD = Mechanism(
    number=45,
    name="Neighbourhood attention (NATTEN)",
    layers={
        "NeighborhoodAttention": LayerRecord(
            cases=(
                image(8, size=(5, 6), other=(4, 7), kernel_size=3, num_heads=2),
                image(
                    8,
                    size=(7, 8),
                    other=(6, 7),
                    kernel_size=3,
                    dilation=2,
                    num_heads=4,
                    qkv_bias=False,
                ),
                image(8, size=(4, 6), other=(6, 3), kernel_size=5, num_heads=1),
            ),
            legal={
                "kernel_size": [3, 5],
                "dilation": [1, 2, 3],
                "num_heads": [1, 4],
                "qkv_bias": [False, True],
            },
            drawn=("image",),
            starts={"table": normal(0.02)},
            orders={
                "table": "(head; offset of row; offset of column), key minus query",
                "qkv": "all queries, all keys, all values, each head by head",
            },
        ),
    },
    input="image",
    summary="Each position attends to the k x k positions nearest to it.",
    title="Neighborhood Attention Transformer",
    authors="Hassani, Walton, Li, Li, Shi",
    year=2022,
    venue="CVPR 2023",
    arxiv="2204.07143",
    reference="SHI-Labs/NATTEN",
    aliases=("nat", "natten", "neighborhood", "dilated neighborhood attention", "dinat"),
    use=(
        "Its cost grows with the number of positions, and every position has its own window, so "
        "there are no borders between windows. Use it in the blocks of a transformer on large "
        "maps, alternately with and without dilation."
    ),
    flow=(
        "x -> query -> scores / √d + bias -> softmax over the window -> * values -> output map -> y",
        "x -> key -> nearest k x k -> scores / √d + bias",
        "x -> value -> nearest k x k -> * values",
    ),
    parameters="4 * C**2 + 4 * C + (2 * k - 1)**2 * h",
    multiply_adds="4 * N * C**2 + 2 * N * k**2 * C",
    maps="h * N * k**2",
    options={"kernel_size": 7, "num_heads": 8},
    symbols={"k": ("kernel size", "kernel_size"), "h": ("heads", "num_heads")},
    needs=(
        "C % num_heads == 0",
        "kernel_size % 2 == 1",
        "kernel_size >= 3",
        "H >= kernel_size",
        "W >= kernel_size",
    ),
    tasks=("classification", "dense prediction"),
    related=("window", "halo", "outlook"),
    networks=("NAT",),
    small={"kernel_size": 5, "num_heads": 4},
)
