"""Residual attention (CSRA)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=1,
    name="Residual attention (CSRA)",
    layers={
        "ResidualAttention": LayerRecord(
            cases=(
                image(8, num_classes=5),
                image(8, num_classes=3, temperatures=(1.0, 4.0, float("inf"))),
                image(8, num_classes=3, lam=0.5, normalize=False),
            ),
            legal={"num_classes": [1, 5], "temperatures": [(1.0,), (2.0, float("inf"))]},
            required=lambda size: {"num_classes": 10},
            example={"num_classes": 80},
            drawn=("image",),
        ),
    },
    input="image",
    summary="Classifies an image with a separate attention map over the positions for each class.",
    title="Residual Attention: A Simple but Effective Method for Multi-Label Recognition",
    authors="Zhu, Wu",
    year=2021,
    venue="ICCV 2021",
    arxiv="2108.02456",
    reference="Kevinz-code/CSRA",
    aliases=("csra",),
    use=(
        "It replaces the global pooling and the classifier of a network, and nothing else. Use it "
        "where an image shows several objects, as in multi-label classification."
    ),
    flow=(
        (
            "x -> dense to class scores -> softmax over positions -> weighted mean -> times lambda -> "
            "+ -> y"
        ),
        "dense to class scores -> mean over positions -> +",
        "dense to class scores -> weighted mean",
    ),
    parameters="C * K",
    multiply_adds="N * K * (C + 1)",
    maps="K * N",
    options={"num_classes": 80},
    symbols={"K": ("classes", "num_classes")},
    related=("se", "double"),
)
