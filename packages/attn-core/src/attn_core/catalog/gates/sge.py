"""Spatial group-wise enhance."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=15,
    name="Spatial group-wise enhance",
    layers={
        "SpatialGroupEnhance": LayerRecord(
            orders={"scale": "(group)", "bias": "(group)"},
            cases=(image(8, groups=4),),
            legal={"groups": [1, 2, 8]},
            permutable=({"groups": 2},),
            drawn=("image",),
            starts={"scale": 0, "bias": 1},
        ),
    },
    input="image",
    summary="Rescales the positions of each channel group by their similarity to the group's average.",
    title="Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks",
    authors="Li, Hu, Yang",
    year=2019,
    venue="",
    arxiv="1905.09646",
    reference="implus/PytorchInsight",
    aliases=("spatial group enhance",),
    use=(
        "It has only two parameters per group, and emphasises the positions that are similar to "
        "the average of their group. Use it where positions matter and the number of parameters "
        "must be small."
    ),
    flow=(
        "x -> product with mean over H, W -> norm over H, W -> scale, shift, sigmoid -> * -> y",
        "x -> *",
    ),
    parameters="2 * G",
    multiply_adds="N * C",
    maps="N * G",
    options={"groups": 64},
    symbols={"G": ("groups", "groups")},
    needs=("C % groups == 0",),
    tasks=("classification", "mobile"),
    related=("shuffle", "se", "cbam"),
    networks=("AttentionResNet",),
    small={"groups": 4},
)
