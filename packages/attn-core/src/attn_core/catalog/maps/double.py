"""Double attention (A2-Net)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=16,
    name="Double attention (A2-Net)",
    layers={
        "DoubleAttention": LayerRecord(
            cases=(
                image(8),
                image(8, feature_dim=6, num_maps=3, reconstruct=False),
            ),
            legal={"feature_dim": [None, 3], "num_maps": [None, 5], "reconstruct": [True, False]},
            permutable=({},),
            no_gradient=("gather/bias",),
            drawn=("image", "bars"),
        ),
    },
    input="image",
    summary="Gathers the image into a few global features, then distributes them to all positions.",
    title="A2-Nets: Double Attention Networks",
    authors="Chen, Kalantidis, Li, Yan, Feng",
    year=2018,
    venue="NeurIPS 2018",
    arxiv="1810.11579",
    reference="equations 2 to 4 of the paper",
    aliases=("a2", "a2-net"),
    use=(
        "Every position receives a few features of the whole image, at a cost linear in the number "
        "of positions. Use it in the middle of a network, where attention between all positions "
        "would cost too much."
    ),
    flow=(
        "x -> features A -> gather: G = Bᵀ A -> distribute: V G -> output map -> y",
        "x -> softmax over positions B -> gather: G = Bᵀ A",
        "x -> softmax over maps V -> distribute: V G",
    ),
    parameters="4 * C * m + C + 3 * m",
    multiply_adds="4 * N * C * m + 2 * N * m**2",
    maps="2 * m * N",
    symbols={"m": ("C / 4", "C // 4")},
    needs=("C % 4 == 0",),
    tasks=("classification", "dense prediction"),
    related=("dual", "external"),
)
