"""Separable self-attention (MobileViTv2)."""

from attn_core.catalog._record import Case, LayerRecord, Mechanism, image, tokens

RECORD = Mechanism(
    number=31,
    name="Separable self-attention (MobileViTv2)",
    layers={
        "SeparableSelfAttention": LayerRecord(
            cases=(
                tokens(8),
                Case((4, 9, 8), {"use_bias": False}, (4, 5)),
            ),
            legal={"use_bias": [True, False]},
            permutable=({},),
            no_gradient=("query/bias",),
            drawn=("image",),
        ),
        "MobileViTv2Block": LayerRecord(
            cases=(
                image(8, size=(4, 6), other=(6, 2), transformer_dim=8, num_blocks=1),
                image(8, other=(3, 4), transformer_dim=8, ffn_dim=12, num_blocks=1),
            ),
            legal={"transformer_dim": [8, 16], "num_blocks": [1], "patch_size": [1, 2, 3]},
            no_gradient=("query/bias",),
            family="blocks",
        ),
    },
    input="image or token",
    summary=(
        "Computes a score for each token; the weighted sum of all tokens is a context vector, "
        "which rescales each of them."
    ),
    title="Separable Self-attention for Mobile Vision Transformers",
    authors="Mehta, Rastegari",
    year=2022,
    venue="TMLR 2023",
    arxiv="2206.02680",
    reference="apple/ml-cvnets",
    aliases=("mobilevitv2", "linear self-attention"),
    use=(
        "One context vector per sample replaces the map of all pairs, without matrix products "
        "between tokens. Use it on mobile devices, instead of multi-head attention."
    ),
    flow=(
        "x -> value, relu -> * -> output map -> y",
        "x -> one score per token -> softmax over tokens -> weighted sum -> key map -> *",
        "x -> weighted sum",
    ),
    parameters="3 * C**2 + 4 * C + 1",
    multiply_adds="2 * N * C**2 + C**2 + 2 * N * C",
    maps="N",
    tasks=("classification", "dense prediction", "mobile"),
    related=("mobilevit", "external", "ufo"),
    networks=("MobileViTv2",),
)
