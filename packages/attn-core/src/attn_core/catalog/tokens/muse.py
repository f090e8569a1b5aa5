"""MUSE."""

from attn_core.catalog._record import LayerRecord, Mechanism, tokens

RECORD = Mechanism(
    number=14,
    name="MUSE",
    layers={
        "MUSEAttention": LayerRecord(
            orders={
                "gate": "(kernel size)",
                "kernel_0": "head by head, of each the entries from the earliest token on",
                "kernel_1": "head by head, of each the entries from the earliest token on",
            },
            cases=(
                tokens(8, num_heads=2, kernel_sizes=(3, 5)),
                tokens(8, num_heads=2, key_dim=3, value_dim=5, kernel_sizes=(3, 7), causal=True),
            ),
            legal={
                "num_heads": [1, 2],
                "kernel_sizes": [(1,), (3, 7)],
                "key_dim": [None, 3],
                "causal": [True, False],
            },
            no_gradient=("key/bias",),
            drawn=("image",),
            starts={"gate": 0.5},
        ),
    },
    input="token",
    summary="Computes self-attention and, in parallel, dynamic convolutions of the same values.",
    title="MUSE: Parallel Multi-Scale Attention for Sequence to Sequence Learning",
    authors="Zhao, Sun, Xu, Zhang, Luo",
    year=2019,
    venue="",
    arxiv="1911.09483",
    reference="lancopku/MUSE",
    aliases=("parallel multi-scale attention",),
    use=(
        "The convolutions, whose kernels are predicted from the tokens, find nearby context, and "
        "the attention finds distant context. Use it in transformers for sequences, with "
        "`causal=True` in decoders."
    ),
    flow=(
        "x -> value -> attention -> join -> output map -> y",
        "x -> query and key -> attention",
        "value -> kernels of every token -> dynamic convs, weighted sum -> join",
        "value -> dynamic convs, weighted sum",
    ),
    parameters="5 * C**2 + 18 * C * h + 4 * C + 2",
    multiply_adds="5 * N * C**2 + 2 * N**2 * C + 18 * N * C * h + 15 * N * C",
    maps="h * N**2",
    options={"num_heads": 8},
    symbols={"h": ("heads", "num_heads")},
    needs=("C % num_heads == 0",),
    tasks=("sequences",),
    related=("dot-product", "aft", "cot"),
    small={"num_heads": 4},
)
