"""SimAM."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=32,
    name="SimAM",
    layers={
        "SimAM": LayerRecord(
            cases=(image(8), image(8, epsilon=0.1)),
            legal={"epsilon": [1e-4, 0.5]},
            one_position=False,
            permutable=({},),
            drawn=("image",),
        ),
    },
    input="image",
    summary=(
        "Rescales each value by how much it differs from the mean of its channel; it has no "
        "weights."
    ),
    title="SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks",
    authors="Yang, Zhang, Li, Xie",
    year=2021,
    venue="ICML 2021",
    arxiv="",
    url="https://proceedings.mlr.press/v139/yang21o.html",
    reference="ZjjConan/SimAM",
    aliases=("parameter-free attention",),
    use=(
        "It has no weights, so you can add it to a trained network and still load its checkpoint. "
        "Use it where squeeze-and-excitation would have too many parameters, at the end of each "
        "residual branch."
    ),
    flow=(
        "x -> (x - mean over H, W)² -> d / 4 (variance + ε) -> + 1/2, sigmoid -> * -> y",
        "x -> *",
    ),
    parameters="0",
    multiply_adds="0",
    maps="N * C",
    tasks=("classification", "dense prediction", "mobile"),
    related=("sge", "eca", "se"),
)
