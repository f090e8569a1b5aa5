"""Differential attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, normal, tokens

LAMBDAS = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
"""The vectors of lambda."""

RECORD = Mechanism(
    number=53,
    name="Differential attention",
    layers={
        "DifferentialAttention": LayerRecord(
            orders={
                "lambda_q1": "(channel of a query or key)",
                "lambda_k1": "(channel of a query or key)",
                "lambda_q2": "(channel of a query or key)",
                "lambda_k2": "(channel of a query or key)",
                "gamma": "(channel of a head)",
            },
            cases=(
                tokens(8, num_heads=2),
                tokens(
                    8,
                    num_heads=2,
                    depth=3,
                    qkv_bias=True,
                    use_bias=False,
                    causal=True,
                    dropout=0.2,
                ),
            ),
            legal={
                "num_heads": [1, 4],
                "depth": [0, 5],
                "qkv_bias": [True, False],
                "use_bias": [True, False],
                "causal": [True, False],
            },
            permutable=({"num_heads": 2},),
            no_gradient=("key/bias",),
            drawn=("image",),
            starts=dict.fromkeys(LAMBDAS, normal(0.1)),
        ),
    },
    input="token",
    summary=(
        "In each head, subtracts a second softmax map from the first, so that noise in both maps "
        "cancels."
    ),
    title="Differential Transformer",
    authors="Ye, Dong, Xia, Sun, Zhu, Huang, Wei",
    year=2024,
    venue="ICLR 2025",
    arxiv="2410.05258",
    reference="huggingface/pytorch-image-models",
    aliases=("diff transformer", "diff-attention"),
    use=(
        "Plain attention gives some weight to every token, also to irrelevant ones; the "
        "subtraction removes the weight that both maps give them. Use it instead of self-attention "
        "in transformers for long texts, with half the number of heads."
    ),
    flow=(
        "x -> two queries -> scores / √d -> two softmax maps -> A₁ - λ A₂ -> * values -> RMS norm"
        " -> output map -> y",
        "x -> two keys -> scores / √d",
        "x -> value -> * values",
    ),
    parameters="4 * C**2 + C + 3 * C / h",
    multiply_adds="4 * N * C**2 + 2 * N**2 * C + h * N**2",
    maps="h * N**2",
    options={"num_heads": 8},
    symbols={"h": ("heads", "num_heads")},
    needs=("C % (2 * num_heads) == 0",),
    tasks=("classification", "sequences"),
    related=("dot-product", "linear", "muse"),
    small={"num_heads": 4},
)
