"""Axial attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=46,
    name="Axial attention",
    layers={
        "AxialAttention": LayerRecord(
            cases=(
                image(8, num_heads=2),
                image(8, num_heads=2, key_dim=3, combine="sequential"),
            ),
            legal={
                "num_heads": [1, 4],
                "key_dim": [None, 3],
                "combine": ["add", "sequential"],
            },
            drawn=("image", "image"),
        ),
    },
    input="image",
    summary="Attends along the columns and along the rows of an image, each with its own weights.",
    title="Axial Attention in Multidimensional Transformers",
    authors="Ho, Kalchbrenner, Weissenborn, Salimans",
    year=2019,
    venue="",
    arxiv="1912.12180",
    reference="lucidrains/axial-attention",
    aliases=("axial transformer", "row and column attention"),
    use=(
        "Its cost grows with N(H + W), while the cost of attention over all positions grows with "
        "the square of N. Use it on large maps, and twice in a row if every position must attend "
        "to every other."
    ),
    flow=(
        "x -> attention along the columns -> + -> y",
        "x -> attention along the rows -> +",
    ),
    parameters="8 * C**2 + 2 * C",
    multiply_adds="8 * N * C**2 + 2 * N * (H + W) * C",
    maps="num_heads * N * (H + W)",
    options={"num_heads": 8},
    needs=("C % num_heads == 0",),
    tasks=("dense prediction", "classification"),
    related=("criss-cross", "non-local", "coordinate"),
)
