"""Scaled dot-product attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, tokens

RECORD = Mechanism(
    number=3,
    name="Scaled dot-product attention",
    layers={
        "ScaledDotProductAttention": LayerRecord(
            cases=(
                tokens(8, num_heads=2),
                tokens(8, num_heads=2, key_dim=3, value_dim=5, output_dim=6),
                tokens(8, num_heads=2, use_bias=False, dropout=0.2),
            ),
            legal={
                "num_heads": [1, 4],
                "key_dim": [None, 3],
                "value_dim": [None, 5],
                "output_dim": [None, 7],
                "use_bias": [True, False],
            },
            permutable=({"num_heads": 2},),
            no_gradient=("key/bias",),
            drawn=("image",),
        ),
    },
    input="token",
    summary=(
        "Every query averages the values whose keys are similar to it; this is the attention of "
        "the Transformer."
    ),
    title="Attention Is All You Need",
    authors="Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
    year=2017,
    venue="NeurIPS 2017",
    arxiv="1706.03762",
    reference="pytorch/pytorch",
    aliases=("sdpa", "multi-head", "mha", "self-attention"),
    use=(
        "Keys and values may come from another sequence, and masks limit which keys a query "
        "attends to. Use it wherever tokens need information from each other and their number is "
        "moderate; all other mechanisms are compared with it."
    ),
    flow=(
        "x -> query -> scores / √d -> softmax over keys -> * values -> output map -> y",
        "x -> key -> scores / √d",
        "x -> value -> * values",
    ),
    parameters="4 * C**2 + 4 * C",
    multiply_adds="4 * N * C**2 + 2 * N**2 * C",
    maps="num_heads * N**2",
    options={"num_heads": 8},
    needs=("C % num_heads == 0",),
    tasks=("classification", "dense prediction", "sequences"),
    related=("simplified", "emsa", "ufo", "muse"),
    small={"num_heads": 4},
)
