"""Lambda attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, image, normal

RECORD = Mechanism(
    number=48,
    name="Lambda attention (LambdaNetworks)",
    layers={
        "LambdaAttention": LayerRecord(
            cases=(
                image(8, num_heads=2, key_dim=4, kernel_size=3),
                fixed_image(12, num_heads=2, key_dim=None, kernel_size=None, qkv_bias=True),
            ),
            legal={
                "num_heads": [1, 2],
                "key_dim": [None, 3],
                "kernel_size": [None, 1, 5],
                "qkv_bias": [True, False],
            },
            large=10.0,
            starts={"position/kernel": normal(0.02), "table": normal(0.02)},
        ),
    },
    input="image",
    summary=(
        "Computes a small matrix from the context of each position, and multiplies the query of "
        "the position by it."
    ),
    title="LambdaNetworks: Modeling Long-Range Interactions Without Attention",
    authors="Bello",
    year=2021,
    venue="ICLR 2021",
    arxiv="2102.08602",
    reference="huggingface/pytorch-image-models",
    aliases=("lambda", "lambdanet", "lambda layer"),
    use=(
        "Every position receives the content of the whole image and the values around it, without "
        "a map of all pairs, so the cost is linear in the number of positions. Use it instead of "
        "the 3x3 convolution of a residual block."
    ),
    flow=(
        "x -> query, norm -> matrix times query -> y",
        "x -> key -> softmax over positions -> sum of k vᵀ -> + -> matrix times query",
        "x -> value, norm -> sum of k vᵀ",
        "value, norm -> sum of e vᵀ by offset -> +",
    ),
    parameters="C * (h * d + d + v) + 2 * (h * d + v) + d * (k**2 + 1)",
    multiply_adds="N * C * (h * d + d + v) + N * d * v * (k**2 + 1) + 2 * N * d * C",
    options={"num_heads": 4, "key_dim": 16, "kernel_size": 9},
    symbols={
        "h": ("heads", "num_heads"),
        "d": ("key_dim", "key_dim"),
        "v": ("C / h", "C // h"),
        "k": ("kernel size", "kernel_size"),
    },
    needs=(
        "C % num_heads == 0",
        "kernel_size % 2 == 1",
    ),
    tasks=("classification", "dense prediction"),
    related=("bottleneck", "double", "halo"),
)
