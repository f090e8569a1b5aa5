"""Linear attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, tokens

RECORD = Mechanism(
    number=52,
    name="Linear attention",
    layers={
        "LinearAttention": LayerRecord(
            cases=(
                tokens(8, num_heads=2),
                tokens(8, count=70, other=3, num_heads=2, key_dim=3, value_dim=5, causal=True),
            ),
            legal={
                "num_heads": [1, 4],
                "key_dim": [None, 3],
                "value_dim": [None, 5],
                "causal": [True, False],
            },
            permutable=({"num_heads": 2},),
        ),
    },
    input="token",
    summary=(
        "Replaces the softmax by dot products of positive features, so the cost is linear in the "
        "number of tokens."
    ),
    title="Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
    authors="Katharopoulos, Vyas, Pappas, Fleuret",
    year=2020,
    venue="ICML 2020",
    arxiv="2006.16236",
    reference="idiap/fast-transformers",
    aliases=("linear transformer", "fast-transformers", "kernel attention"),
    use=(
        "The weights are products of positive features, so keys and values can be multiplied first "
        "and no map of all pairs is stored. Use it on very long sequences, and with `causal=True` "
        "in decoders."
    ),
    flow=(
        "x -> query -> elu + 1 -> * -> / sum of weights -> output map -> y",
        "x -> key -> elu + 1#2 -> Kᵀ V, Kᵀ 1 -> *",
        "x -> value -> Kᵀ V, Kᵀ 1",
    ),
    parameters="4 * C**2 + 4 * C",
    multiply_adds="4 * N * C**2 + 2 * N * C**2 / h + 2 * N * C",
    options={"num_heads": 8},
    symbols={"h": ("heads", "num_heads")},
    needs=("C % num_heads == 0",),
    tasks=("classification", "sequences"),
    related=("focused-linear", "ufo", "dot-product", "external"),
    small={"num_heads": 4},
)
