"""Selective kernel."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=6,
    name="Selective kernel",
    layers={
        "SKAttention": LayerRecord(
            orders={"select": "branch by branch"},
            cases=(
                image(8, min_width=4),
                image(8, min_width=4, split_input=True),
                image(8, kernel_sizes=(1, 3, 5), dilated=False, groups=2, min_width=4),
            ),
            legal={"kernel_sizes": [(3, 5), (3, 5, 7)], "groups": [1, 4], "min_width": [2]},
            drawn=("stack",),
        ),
    },
    input="image",
    summary=(
        "Adds convolutions with several kernel sizes, weighted in each channel by a softmax over "
        "them."
    ),
    title="Selective Kernel Networks",
    authors="Li, Wang, Hu, Yang",
    year=2019,
    venue="CVPR 2019",
    arxiv="1903.06586",
    reference="huggingface/pytorch-image-models",
    aliases=("sknet",),
    use=(
        "Each branch is a convolution, so the layer replaces the 3x3 convolution of a block. Use "
        "it where objects differ in size and you can afford two convolutions per block."
    ),
    flow=(
        (
            "x -> 3x3 conv, BN, relu -> + -> mean over H, W -> dense to d, BN, relu -> softmax "
            "over branches -> weighted sum -> y"
        ),
        "x -> dilated 3x3 conv, BN, relu -> +",
        "3x3 conv, BN, relu -> weighted sum",
        "dilated 3x3 conv, BN, relu -> weighted sum",
    ),
    parameters="18 * C**2 + 4 * C + 3 * C * d + 2 * d",
    multiply_adds="18 * N * C**2 + 2 * N * C + 3 * C * d",
    maps="2 * C",
    options={"reduction": 16, "min_width": 32},
    symbols={"d": ("hidden width", "max(C // reduction, min_width)")},
    tasks=("classification", "dense prediction"),
    related=("pyramid-squeeze", "parnet", "cot"),
    networks=("AttentionResNet",),
    small={"min_width": 8},
)
