"""BAM."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=8,
    name="BAM",
    layers={
        "BAM": LayerRecord(
            cases=(
                image(8, reduction=2),
                image(
                    16, reduction=4, dilation=2, channel_layers=2, spatial_layers=1, combine="add"
                ),
            ),
            legal={
                "reduction": [2],
                "dilation": [1, 3],
                "channel_layers": [1, 2],
                "spatial_layers": [1, 2],
                "combine": ["multiply", "add"],
            },
            zero=("channel_layers", "spatial_layers"),
            drawn=("image",),
        ),
    },
    input="image",
    summary=(
        "Rescales each channel at each position by a gate computed from a channel and a spatial "
        "branch."
    ),
    title="BAM: Bottleneck Attention Module",
    authors="Park, Woo, Lee, Kweon",
    year=2018,
    venue="BMVC 2018",
    arxiv="1807.06514",
    reference="Jongchan/attention-module",
    aliases=("bottleneck attention module",),
    use=(
        "The gate has values between 1 and 2, so it never removes a feature. Use it between the "
        "stages of a network, as its authors do, and not in every block."
    ),
    flow=(
        "x -> mean over H, W -> MLP over C -> c · s, sigmoid -> 1 + gate -> * -> y",
        "x -> 1x1 conv to C / r -> two dilated 3x3 convs -> 1x1 conv to 1 -> c · s, sigmoid",
        "x -> *",
    ),
    parameters="3 * C * d + 18 * d**2 + C + 13 * d + 1",
    multiply_adds="2 * C * d + N * (C * d + 18 * d**2 + d)",
    maps="N * C",
    options={"reduction": 16},
    symbols={"d": ("C / reduction", "max(1, C // reduction)")},
    tasks=("classification", "dense prediction"),
    related=("cbam", "se"),
    networks=("AttentionResNet",),
    small={"reduction": 4},
)
