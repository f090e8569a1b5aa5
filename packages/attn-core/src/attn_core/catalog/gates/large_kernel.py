"""Large kernel attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=37,
    name="Large kernel attention (VAN)",
    layers={
        "LargeKernelAttention": LayerRecord(
            cases=(
                image(8),
                image(8, kernel_size=10, dilation=2, projection=False),
            ),
            legal={"kernel_size": [5, 9], "dilation": [1, 2], "projection": [True, False]},
            large=10.0,
            drawn=("image",),
        ),
    },
    input="image",
    summary=(
        "Rescales each value by a convolution of a large region around it, computed by three small "
        "convolutions."
    ),
    title="Visual Attention Network",
    authors="Guo, Lu, Liu, Cheng, Hu",
    year=2022,
    venue="CVMJ 2023",
    arxiv="2202.09741",
    reference="Visual-Attention-Network/VAN-Classification",
    aliases=("van", "lka"),
    use=(
        "Two depthwise convolutions cover the same region as a 21x21 convolution, at a cost linear "
        "in the number of positions. Use it instead of self-attention, after a norm and before an "
        "MLP, at any image size."
    ),
    flow=(
        "x -> 1x1 conv, GELU -> depthwise conv, 5x5 -> depthwise conv, 7x7 dilated by 3 -> 1x1 conv"
        " -> * -> 1x1 conv#2 -> + -> y",
        "1x1 conv, GELU -> *",
        "x -> +",
    ),
    parameters="3 * C**2 + (a**2 + b**2 + 5) * C",
    multiply_adds="3 * N * C**2 + N * (a**2 + b**2) * C",
    maps="N * C",
    options={"kernel_size": 21, "dilation": 3},
    symbols={
        "a": ("2 dilation - 1", "2 * dilation - 1"),
        "b": ("⌈kernel size / dilation⌉", "-(-kernel_size // dilation)"),
    },
    needs=("b % 2 == 1",),
    tasks=("classification", "dense prediction"),
    related=("global-filter", "outlook", "ema"),
    networks=("VAN",),
)
