"""Squeeze-and-excitation."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=5,
    name="Squeeze-and-excitation",
    layers={
        "SEAttention": LayerRecord(
            cases=(
                image(8, reduction=4),
                image(8, reduction=16, use_bias=True),
            ),
            legal={"reduction": [1, 4, 100], "use_bias": [True, False]},
            permutable=({"reduction": 2},),
            drawn=("bars",),
        ),
    },
    input="image",
    summary="Rescales each channel by a weight computed from the means of all channels over the image.",
    title="Squeeze-and-Excitation Networks",
    authors="Hu, Shen, Albanie, Sun, Wu",
    year=2017,
    venue="CVPR 2018",
    arxiv="1709.01507",
    reference="moskomule/senet.pytorch",
    aliases=("senet",),
    use=(
        "Its cost is negligible compared with a convolution, and it fits any network. Try it "
        "first, at the end of each residual branch, and compare other mechanisms with it."
    ),
    flow=(
        "x -> mean over H, W -> dense to C / r, relu -> dense to C, sigmoid -> * -> y",
        "x -> *",
    ),
    parameters="2 * C * w",
    multiply_adds="2 * C * w",
    maps="C",
    options={"reduction": 16},
    symbols={"w": ("C / reduction", "max(1, C // reduction)")},
    tasks=("classification", "mobile"),
    related=("eca", "cbam", "sge", "coordinate"),
    networks=("CoAtNet", "AttentionResNet"),
    small={"reduction": 4},
)
