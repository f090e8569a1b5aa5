"""Simplified scaled dot-product attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, tokens

RECORD = Mechanism(
    number=4,
    name="Simplified scaled dot-product attention",
    layers={
        "SimplifiedScaledDotProductAttention": LayerRecord(
            cases=(
                tokens(8, num_heads=2),
                tokens(8, num_heads=4, output_dim=6, dropout=0.1),
            ),
            legal={"num_heads": [1, 4], "output_dim": [None, 5]},
            permutable=({"num_heads": 2},),
            drawn=("image",),
        ),
    },
    input="token",
    summary="Computes dot-product attention without the projections of query, key and value.",
    title="",
    authors="",
    year=2021,
    venue="",
    arxiv="",
    reference="xmu-xiaoma666/External-Attention-pytorch",
    aliases=("ssdpa",),
    use=(
        "The input channels themselves are queries, keys and values, so the layer has a quarter of "
        "the parameters. Use it after a layer that already projects its input, or to measure the "
        "effect of the projections."
    ),
    flow=(
        "x -> scores / √d -> softmax over keys -> * values -> output map -> y",
        "x -> * values",
    ),
    parameters="C**2 + C",
    multiply_adds="N * C**2 + 2 * N**2 * C",
    maps="num_heads * N**2",
    options={"num_heads": 8},
    needs=("C % num_heads == 0",),
    tasks=("classification", "sequences"),
    related=("dot-product",),
    small={"num_heads": 4},
)
