"""Shuffle attention (SA-Net)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=13,
    name="Shuffle attention (SA-Net)",
    layers={
        "ShuffleAttention": LayerRecord(
            orders={
                "channel_scale": "(channel of half a group)",
                "channel_bias": "(channel of half a group)",
                "spatial_scale": "(channel of half a group)",
                "spatial_bias": "(channel of half a group)",
                "gamma": "(channel of half a group)",
                "beta": "(channel of half a group)",
            },
            cases=(image(16, groups=4),),
            legal={"groups": [1, 2, 4]},
            permutable=({"groups": 2},),
            starts={"scale": 0, "channel_bias": 1, "spatial_bias": 1},
        ),
    },
    input="image",
    summary=(
        "Rescales half of each channel group by its means, half by its normalised values, then "
        "shuffles the channels."
    ),
    title="SA-Net: Shuffle Attention for Deep Convolutional Neural Networks",
    authors="Zhang, Yang",
    year=2021,
    venue="ICASSP 2021",
    arxiv="2102.00240",
    reference="wofmanaf/SA-Net",
    aliases=("sa-net", "sanet"),
    use=(
        "It rescales channels and positions with a few parameters that all groups share, and the "
        "shuffle exchanges information between the groups. Use it where CBAM is too expensive, at "
        "the end of each residual branch."
    ),
    flow=(
        (
            "x -> first half of each group -> mean over H, W -> scale, shift, sigmoid -> * -> "
            "shuffle channels -> y"
        ),
        "first half of each group -> *",
        (
            "x -> second half of each group -> norm over H, W -> scale, shift, sigmoid#2 -> *#2 "
            "-> shuffle channels"
        ),
        "second half of each group -> *#2",
    ),
    parameters="3 * C / G",
    multiply_adds="C * N",
    options={"groups": 64},
    symbols={"G": ("groups", "groups")},
    needs=("C % (2 * groups) == 0",),
    tasks=("classification", "mobile"),
    related=("sge", "eca", "cbam"),
    networks=("AttentionResNet",),
    small={"groups": 4},
)
