"""Effective squeeze-and-excitation."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=33,
    name="Effective squeeze-and-excitation (eSE)",
    layers={
        "EffectiveSEAttention": LayerRecord(
            cases=(image(8),),
            permutable=({},),
            drawn=("bars",),
        ),
    },
    input="image",
    summary=(
        "Rescales each channel by a weight that one dense layer computes from the means of all "
        "channels."
    ),
    title="CenterMask: Real-Time Anchor-Free Instance Segmentation",
    authors="Lee, Park",
    year=2019,
    venue="CVPR 2020",
    arxiv="1911.06667",
    reference="youngwanLEE/vovnet-detectron2",
    aliases=("ese", "effective se", "vovnetv2"),
    use=(
        "Unlike squeeze-and-excitation, it does not reduce the C channel means to a smaller width, "
        "and has C² weights in its dense layer. Use it at the end of the blocks of a detector's "
        "backbone, as VoVNetV2 does."
    ),
    flow=(
        "x -> mean over H, W -> dense to C, hard sigmoid -> * -> y",
        "x -> *",
    ),
    parameters="C**2 + C",
    multiply_adds="C**2",
    maps="C",
    tasks=("classification", "dense prediction"),
    related=("se", "eca", "gather-excite"),
)
