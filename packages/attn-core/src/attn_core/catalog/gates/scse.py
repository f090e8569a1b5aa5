"""Concurrent spatial and channel squeeze-and-excitation."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=36,
    name="Spatial and channel squeeze-and-excitation (scSE)",
    layers={
        "SCSEAttention": LayerRecord(
            cases=(
                image(8, reduction=2),
                image(8, reduction=2, combine="max"),
            ),
            legal={"reduction": [1, 4, 100], "combine": ["add", "max"]},
            permutable=({"reduction": 2}, {"reduction": 2, "combine": "max"}),
            drawn=("bars", "image"),
        ),
    },
    input="image",
    summary="Rescales the channels and, separately, the positions, and combines the two results.",
    title=("Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks"),
    authors="Roy, Navab, Wachinger",
    year=2018,
    venue="MICCAI 2018",
    arxiv="1803.02579",
    reference="qubvel/segmentation_models.pytorch",
    aliases=("scse", "concurrent squeeze-and-excitation"),
    use=(
        "Its spatial gate shows which pixels matter, and costs only one dense layer with a single "
        "output channel. Use it in the decoder of a segmentation network, after each block."
    ),
    flow=(
        "x -> mean over H, W -> dense to C / r, relu -> dense to C, sigmoid -> * -> + -> y",
        "x -> *",
        "x -> dense to 1, sigmoid -> *#2 -> +",
        "x -> *#2",
    ),
    parameters="2 * C * d + 2 * C + d + 1",
    multiply_adds="2 * C * d + N * C",
    maps="C + N",
    options={"reduction": 16},
    symbols={"d": ("C / reduction", "max(1, C // reduction)")},
    tasks=("dense prediction",),
    related=("se", "cbam", "bam"),
    small={"reduction": 4},
)
