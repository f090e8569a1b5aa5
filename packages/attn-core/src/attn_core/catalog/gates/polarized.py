"""Polarized self-attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=22,
    name="Polarized self-attention",
    layers={
        "ParallelPolarizedSelfAttention": LayerRecord(
            cases=(image(8),),
            permutable=({},),
            drawn=("bars", "image"),
        ),
        "SequentialPolarizedSelfAttention": LayerRecord(
            cases=(image(24),),
            permutable=({},),
            drawn=("bars", "image"),
        ),
    },
    input="image",
    summary=(
        "Rescales the channels and the positions of an image, in parallel or one after the other."
    ),
    title="Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
    authors="Liu, Liu, Fan, Huang",
    year=2021,
    venue="",
    arxiv="2107.00782",
    reference="DeLightCMU/PSA",
    aliases=("psa-p",),
    use=(
        "Each gate averages over one axis and keeps a high resolution on the other, which suits "
        "networks that predict a value for every pixel. Use it in networks for pose estimation or "
        "segmentation, inside each residual block."
    ),
    flow=(
        "x -> softmax over positions -> weighted mean, dense, sigmoid -> + -> * -> y",
        "x -> mean over H, W, query -> product with values, softmax, sigmoid -> +",
        "x -> *",
    ),
    parameters="4 * C * w + C",
    multiply_adds="3 * N * C + 4 * C * w",
    maps="C + N",
    symbols={"w": ("C / 2", "max(1, C // 2)")},
    tasks=("dense prediction",),
    related=("cbam", "dual", "coordinate"),
)
