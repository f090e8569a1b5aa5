"""Triplet attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=26,
    name="Triplet attention",
    layers={
        "TripletAttention": LayerRecord(
            cases=(
                image(8),
                image(8, kernel_size=3, spatial=False),
            ),
            legal={"kernel_size": [1, 3, 7], "spatial": [True, False]},
            drawn=("image", "image", "image"),
        ),
    },
    input="image",
    summary=(
        "Averages three rescaled images, with one gate for each pair of the axes height, width and "
        "channels."
    ),
    title="Rotate to Attend: Convolutional Triplet Attention Module",
    authors="Misra, Nalamada, Arasanipalai, Hou",
    year=2020,
    venue="WACV 2021",
    arxiv="2010.03045",
    reference="landskape-ai/triplet-attention",
    use=(
        "Three small convolutions combine channels and positions, with a few hundred parameters "
        "for any number of channels. Use it at the end of each residual branch."
    ),
    flow=(
        "x -> max, mean over H -> conv over W, C -> sigmoid -> * -> mean of three -> y",
        "x -> max, mean over W -> conv over H, C -> sigmoid#2 -> *#2 -> mean of three",
        "x -> max, mean over C -> conv over H, W -> sigmoid#3 -> *#3 -> mean of three",
    ),
    parameters="3 * (2 * k**2 + 2)",
    multiply_adds="2 * k**2 * (H * W + H * C + W * C)",
    maps="W * C + H * C + N",
    options={"kernel_size": 7},
    symbols={"k": ("kernel size", "kernel_size")},
    needs=("kernel_size % 2 == 1",),
    tasks=("classification", "mobile"),
    related=("cbam", "coordinate"),
    networks=("AttentionResNet",),
)
