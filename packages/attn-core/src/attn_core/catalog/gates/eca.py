"""ECA."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=9,
    name="ECA",
    layers={
        "ECAAttention": LayerRecord(
            orders={"kernel": "(offset of channel)"},
            cases=(
                image(8),
                image(8, kernel_size=5),
            ),
            legal={"kernel_size": [None, 1, 3, 9], "gamma": [1, 2], "b": [0, 1]},
            permutable=({"kernel_size": 3},),
            drawn=("bars",),
        ),
    },
    input="image",
    summary=(
        "Rescales each channel by a weight computed from the means of the channel and of its "
        "neighbours."
    ),
    title="ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
    authors="Wang, Wu, Zhu, Li, Zuo, Hu",
    year=2019,
    venue="CVPR 2020",
    arxiv="1910.03151",
    reference="BangguWu/ECANet",
    aliases=("eca-net", "efficient channel attention"),
    use=(
        "It replaces the two dense layers of squeeze-and-excitation by one short convolution along "
        "the channels, which has only a few parameters. Use it where the number of parameters "
        "matters, at the end of each residual branch."
    ),
    flow=(
        "x -> mean over H, W -> conv along C -> sigmoid -> * -> y",
        "x -> *",
    ),
    parameters="k",
    multiply_adds="k * C",
    maps="C",
    symbols={"k": ("kernel size", "(log2(C) + 1) // 4 * 2 + 1")},
    tasks=("classification", "mobile"),
    related=("se", "shuffle"),
    networks=("AttentionResNet",),
)
