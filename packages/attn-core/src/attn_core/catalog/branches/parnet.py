"""ParNet attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=29,
    name="ParNet attention",
    layers={
        "ParNetAttention": LayerRecord(
            cases=(
                image(8),
                image(8, activation="relu"),
            ),
            legal={"activation": ["silu", "relu"]},
            drawn=("bars",),
        ),
    },
    input="image",
    summary="Adds a 3x3 convolution, a 1x1 convolution and a gated skip connection.",
    title="Non-deep Networks",
    authors="Goyal, Bochkovskiy, Deng, Koltun",
    year=2021,
    venue="NeurIPS 2022",
    arxiv="2110.07641",
    reference="imankgoyal/NonDeepNetworks",
    aliases=("non-deep networks", "sse"),
    use=(
        "After training, `fuse()` combines the two convolutions into one 3x3 convolution, which "
        "makes inference cheaper. Use it instead of the blocks of a shallow, wide network."
    ),
    flow=(
        "x -> 3x3 conv, BN -> + -> activation -> y",
        "x -> 1x1 conv, BN -> +",
        "x -> BN -> mean over H, W -> dense, sigmoid -> * -> +",
        "BN -> *",
    ),
    parameters="11 * C**2 + 6 * C",
    multiply_adds="10 * N * C**2 + C**2 + N * C",
    maps="C",
    related=("se", "sk"),
    networks=("ParNet",),
)
