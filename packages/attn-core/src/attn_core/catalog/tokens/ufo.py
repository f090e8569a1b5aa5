"""UFO attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, tokens

RECORD = Mechanism(
    number=30,
    name="UFO attention",
    layers={
        "UFOAttention": LayerRecord(
            orders={"gamma": "(1; head; 1; 1)"},
            cases=(
                tokens(8, num_heads=2),
                tokens(8, num_heads=2, key_dim=3, value_dim=5, output_dim=6, norm_axis="value"),
            ),
            legal={"num_heads": [1, 2], "key_dim": [None, 3], "norm_axis": ["key", "value"]},
            permutable=({"num_heads": 2},),
        ),
    },
    input="token",
    summary=(
        "Replaces the softmax by a norm, so that the cost of attention is linear in the number of "
        "tokens."
    ),
    title="UFO-ViT: High Performance Linear Vision Transformer without Softmax",
    authors="Song",
    year=2021,
    venue="",
    arxiv="2109.14382",
    reference="equations of the paper",
    aliases=("ufo-vit",),
    use=(
        "Without a softmax, keys and values are multiplied first, and the cost is linear in the "
        "number of tokens. Use it for long inputs where you do not need the attention map itself."
    ),
    flow=(
        "x -> query -> norm over features -> * -> output map -> y",
        "x -> key -> Kᵀ V -> norm -> *",
        "x -> value -> Kᵀ V",
    ),
    parameters="4 * C**2 + 4 * C + h",
    multiply_adds="4 * N * C**2 + 2 * N * C**2 / h",
    options={"num_heads": 8},
    symbols={"h": ("heads", "num_heads")},
    needs=("C % num_heads == 0",),
    tasks=("classification", "sequences"),
    related=("external", "dot-product", "aft"),
    small={"num_heads": 4},
)
