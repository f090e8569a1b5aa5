"""ACmix."""

from attn_core.catalog._record import IDENTITY, LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=51,
    name="ACmix",
    layers={
        "ACmix": LayerRecord(
            orders={"join": "from all heads of the query, of the key, then of the value"},
            cases=(
                image(8, kernel_size=3, num_heads=2),
                image(
                    8,
                    size=(6, 4),
                    other=(4, 8),
                    num_heads=2,
                    output_dim=6,
                    kernel_size=5,
                    strides=2,
                ),
            ),
            legal=None,
            one_position=False,
            no_gradient=("position/bias",),
            drawn=("bars",),
            starts={"shift/kernel": IDENTITY, "rate": 0.5},
        ),
    },
    input="image",
    summary="Adds attention in windows and a convolution, both computed from the same projections.",
    title="On the Integration of Self-Attention and Convolution",
    authors="Pan, Ge, Lu, Song, Chen, Huang, Huang",
    year=2021,
    venue="CVPR 2022",
    arxiv="2111.14556",
    reference="LeapLabTHU/ACmix",
    aliases=("attention and convolution mix",),
    use=(
        "Attention and convolution share the expensive 1x1 convolutions, and two learned factors "
        "weight them. Use it instead of the 3x3 convolution of a residual block."
    ),
    flow=(
        "x -> query, key, value -> scores of window, place -> softmax over window -> * values -> * "
        "rate -> + -> y",
        "query, key, value -> * values",
        "query, key, value -> join heads to 9 -> 3x3 conv in groups -> * rate#2 -> +",
    ),
    parameters="3 * C**2 + 3 * C + 3 * d + 27 * h + 81 * C + 2",
    # Without the map of the positions, which does not depend on the image.
    multiply_adds="3 * N * C**2 + 2 * N * C * k**2 + 110 * N * C",
    maps="h * N * k**2",
    options={"num_heads": 4, "kernel_size": 7},
    symbols={
        "h": ("heads", "num_heads"),
        "d": ("C / h", "C // h"),
        "k": ("kernel size", "kernel_size"),
    },
    needs=(
        "C % num_heads == 0",
        "kernel_size % 2 == 1",
        "min(H, W) > kernel_size // 2",
    ),
    tasks=("classification", "dense prediction"),
    related=("halo", "outlook", "cot"),
    small={"kernel_size": 3},
)
