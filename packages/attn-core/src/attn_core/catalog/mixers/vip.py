"""Weighted permute MLP (ViP)."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image

RECORD = Mechanism(
    number=19,
    name="Weighted permute MLP (ViP)",
    layers={
        "WeightedPermuteMLP": LayerRecord(
            orders={
                "height": "row by row, of each the channels of a segment",
                "width": "column by column, of each the channels of a segment",
                "excite": "channel by channel, of each the weights of height, width and channels",
            },
            cases=(
                fixed_image(8, segment_dim=4),
                fixed_image(8, size=(4, 4), segment_dim=4, qkv_bias=True, dropout=0.1),
            ),
            legal={"segment_dim": [1, 2, 8], "qkv_bias": [True, False]},
        ),
    },
    input="image",
    summary="Computes a weighted sum of linear maps along height, width and channels.",
    title="Vision Permutator: A Permutable MLP-Like Architecture for Visual Recognition",
    authors="Hou, Jiang, Yuan, Cheng, Yan, Feng",
    year=2021,
    venue="TPAMI 2022",
    arxiv="2106.12368",
    reference="houqb/VisionPermutator",
    aliases=("vision permutator", "permute-mlp"),
    use=(
        "It mixes along the height and along the width separately, and so keeps the position on "
        "the other axis, which plain token mixing loses. Use it in networks without attention, at "
        "a fixed image size."
    ),
    flow=(
        "x -> mix along H -> weighted sum -> dense to C -> y",
        "x -> mix along W -> weighted sum",
        "x -> mix along C -> weighted sum",
        "mix along C -> mean over H, W, MLP, softmax -> weighted sum",
    ),
    parameters="(H * S)**2 + (W * S)**2 + 2 * C**2 + 4 * C * q + 4 * C + q",
    multiply_adds="N * C * S * (H + W) + 2 * N * C**2 + 4 * C * q + 3 * N * C",
    options={"segment_dim": 8},
    symbols={"S": ("C / segment_dim", "C // segment_dim"), "q": ("⌊C / 4⌋", "C // 4")},
    needs=(
        "C % segment_dim == 0",
        "C >= 4",
    ),
    related=("s2", "global-filter"),
    networks=("VisionPermutator",),
    small={"segment_dim": 4},
)
