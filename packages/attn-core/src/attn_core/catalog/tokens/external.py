"""External attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, tokens

RECORD = Mechanism(
    number=2,
    name="External attention",
    layers={
        "ExternalAttention": LayerRecord(
            cases=(
                tokens(8, memory_size=6),
                tokens(8, memory_size=6, num_heads=2, expansion=2, use_bias=True),
                tokens(8, memory_size=6, output_dim=10, dropout=0.2),
            ),
            legal={
                "memory_size": [1, 7],
                "num_heads": [1, 2],
                "expansion": [1, 2],
                "output_dim": [None, 5],
            },
            permutable=(
                {"memory_size": 5},
                {"memory_size": 5, "num_heads": 2, "expansion": 2},
            ),
            no_gradient=("expand/bias", "memory_key/bias"),
            drawn=("bars",),
        ),
    },
    input="token",
    summary=(
        "Attends to a small learned memory that all samples share; the cost is linear in the "
        "number of tokens."
    ),
    title="Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks",
    authors="Guo, Liu, Mu, Hu",
    year=2021,
    venue="TPAMI 2022",
    arxiv="2105.02358",
    reference="MenghaoGuo/EANet",
    aliases=("eanet",),
    use=(
        "The keys and values are the weights of two linear layers, the same for all samples, so "
        "the cost grows with the number of tokens and not with its square. Use it instead of "
        "self-attention on long inputs or large feature maps."
    ),
    flow=(
        (
            "x -> keys of the memory -> softmax over tokens -> norm over slots -> values of the "
            "memory -> y"
        ),
    ),
    parameters="2 * C * S",
    multiply_adds="2 * N * C * S",
    maps="N * S",
    options={"memory_size": 64},
    symbols={"S": ("memory slots", "memory_size")},
    tasks=("classification", "dense prediction"),
    related=("dot-product", "ufo", "mobilevit2"),
    small={"memory_size": 16},
)
