"""Strip attention and efficient local attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=43,
    name="Strip and efficient local attention",
    layers={
        "StripAttention": LayerRecord(
            cases=(
                image(8),
                image(8, kernel_size=5, use_bias=True, skip=True),
                image(8, use_conv=False),
            ),
            legal={
                "kernel_size": [1, 3, 9],
                "use_conv": [True, False],
                "use_bias": [True, False],
                "skip": [True, False],
            },
            drawn=("image",),
        ),
        "EfficientLocalAttention": LayerRecord(
            cases=(
                image(8),
                image(8, kernel_size=3, use_bias=True, skip=True),
            ),
            legal={"kernel_size": [1, 3, 9], "use_bias": [True, False], "skip": [True, False]},
            drawn=("image", "image"),
            aliases=("ela",),
        ),
    },
    input="image",
    summary="Rescales each value by weights computed from the means of its row and its column.",
    title="ELA: Efficient Local Attention for Deep Convolutional Neural Networks",
    authors="Xu, Wan",
    year=2024,
    venue="",
    arxiv="2403.01123",
    reference="huggingface/pytorch-image-models",
    use=(
        "It keeps positions as coordinate attention does, but has very few weights, because it "
        "does not mix the channels. Use it in mobile networks; choose `EfficientLocalAttention` "
        "where the means should be normalized."
    ),
    flow=(
        "x -> mean over W -> depthwise conv (rows) -> + -> sigmoid -> * -> y",
        "x -> mean over H -> depthwise conv (columns) -> +",
        "x -> *",
    ),
    parameters="2 * k * C",
    multiply_adds="k * C * (H + W)",
    maps="N * C",
    options={"kernel_size": 3},
    symbols={"k": ("kernel size", "kernel_size")},
    needs=("kernel_size % 2 == 1",),
    tasks=("classification", "dense prediction", "mobile"),
    related=("coordinate", "eca", "triplet"),
)
