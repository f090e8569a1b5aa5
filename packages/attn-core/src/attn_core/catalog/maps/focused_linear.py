"""Focused linear attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image

RECORD = Mechanism(
    number=55,
    name="Focused linear attention",
    layers={
        "FocusedLinearAttention": LayerRecord(
            orders={
                "scale": "(1; 1; channel)",
                "places": "(1; position, row by row; channel)",
                "key_value": "first all keys, then all values, each head by head",
            },
            cases=(
                fixed_image(8, num_heads=2),
                fixed_image(
                    8, num_heads=2, focusing_factor=2, kernel_size=3, sr_ratio=2, qkv_bias=True
                ),
            ),
            starts={"scale": 0, "places": 0},
            legal={
                "num_heads": [1, 4],
                "focusing_factor": [1, 2.5],
                "kernel_size": [1, 3],
                "qkv_bias": [True, False],
            },
        ),
    },
    input="image",
    summary=(
        "Computes linear attention with a feature map that concentrates the weights, and adds a "
        "convolution of the values."
    ),
    title="FLatten Transformer: Vision Transformer using Focused Linear Attention",
    authors="Han, Pan, Han, Song, Huang",
    year=2023,
    venue="ICCV 2023",
    arxiv="2308.00442",
    reference="LeapLabTHU/FLatten-Transformer",
    aliases=("flatten", "flatten transformer"),
    use=(
        "Plain linear attention has almost equal weights; here powers of the features concentrate "
        "the weights, and a depthwise convolution adds local information. Use it at high "
        "resolutions instead of self-attention, for images of one size."
    ),
    flow=(
        "x -> query -> f, keeps lengths -> * -> / sum of weights -> + -> output map -> y",
        "x -> key -> + positions -> f, keeps lengths#2 -> Kᵀ V, Kᵀ 1 -> *",
        "x -> value -> Kᵀ V, Kᵀ 1",
        "value -> depthwise conv, 5x5 -> +",
    ),
    parameters="4 * C**2 + 2 * C + N * C + (k**2 + 1) * C / h",
    multiply_adds="4 * N * C**2 + 2 * N * C**2 / h + (2 + k**2) * N * C",
    options={"num_heads": 8, "kernel_size": 5},
    symbols={"h": ("heads", "num_heads"), "k": ("kernel size", "kernel_size")},
    needs=(
        "C % num_heads == 0",
        "kernel_size % 2 == 1",
    ),
    tasks=("classification", "dense prediction"),
    related=("linear", "agent", "ufo"),
    small={"num_heads": 4},
)
