"""Dual attention (DANet)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=10,
    name="Dual attention (DANet)",
    layers={
        "DualAttention": LayerRecord(
            cases=(image(8, reduction=4),),
            legal={"reduction": [1, 4]},
            no_gradient=("key/bias",),
            drawn=("image", "matrix"),
            starts={"gamma": 0},
        ),
        "PositionAttention": LayerRecord(
            cases=(image(8, reduction=4),),
            legal={"reduction": [2, 8]},
            permutable=({"reduction": 2},),
            no_gradient=("key/bias",),
            drawn=("image",),
            starts={"gamma": 0},
            aliases=("pam",),
        ),
        "ChannelSelfAttention": LayerRecord(
            cases=(image(8),),
            permutable=({},),
            drawn=("matrix",),
            starts={"gamma": 0},
            aliases=("cam",),
        ),
    },
    input="image",
    summary="Adds self-attention between all positions to self-attention between all channels.",
    title="Dual Attention Network for Scene Segmentation",
    authors="Fu, Liu, Tian, Li, Bao, Fang, Lu",
    year=2018,
    venue="CVPR 2019",
    arxiv="1809.02983",
    reference="junfu1115/DANet",
    aliases=("danet",),
    use=(
        "Both parts are multiplied by a factor that is initialised to zero, so a trained network "
        "keeps its outputs at first when you add the layer. Use it on the last feature map for "
        "segmentation; its map grows with the square of the number of positions."
    ),
    flow=(
        "x -> position attention -> gamma * -> + -> +#2 -> y",
        "x -> +",
        "x -> channel attention -> gamma *#2 -> +#3 -> +#2",
        "x -> +#3",
    ),
    parameters="C**2 + 2 * C * d + C + 2 * d + 2",
    multiply_adds="3 * N * C**2 + 2 * N * C * d + N**2 * (C + d) + 2 * N * C",
    maps="N**2 + C**2",
    options={"reduction": 8},
    symbols={"d": ("C / reduction", "max(1, C // reduction)")},
    tasks=("dense prediction",),
    related=("double", "dot-product", "polarized"),
)
