"""Global context."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=35,
    name="Global context (GCNet)",
    layers={
        "GlobalContextAttention": LayerRecord(
            cases=(
                image(8, reduction=2),
                image(8, reduction=2, fusion=("multiply",)),
                image(8, reduction=1, fusion=("multiply", "add")),
            ),
            legal={
                "reduction": [1, 2, 100],
                "fusion": [("add",), ("multiply",), ("add", "multiply")],
            },
            permutable=({"reduction": 2}, {"reduction": 2, "fusion": ("multiply",)}),
            no_gradient=("score/bias",),
            drawn=("image",),
            starts={"/excite/kernel": 0},
        ),
    },
    input="image",
    summary=(
        "Computes one weighted mean of all positions, and adds it to every position after two "
        "dense layers."
    ),
    title="GCNet: Non-Local Networks Meet Squeeze-Excitation Networks and Beyond",
    authors="Cao, Xu, Lin, Wei, Hu",
    year=2019,
    venue="ICCV Workshops 2019",
    arxiv="1904.11492",
    reference="xvjiarui/GCNet",
    aliases=("gcnet", "global context block", "gc", "gca"),
    use=(
        "Its authors observed that in a non-local block all queries have almost the same attention "
        "map, so one map for all of them is enough, at a cost linear in the number of positions. "
        "Use it at the end of each residual branch, especially in detectors."
    ),
    flow=(
        "x -> dense to 1, softmax over positions -> weighted mean -> dense to w, LN, relu -> "
        "dense to C -> + -> y",
        "x -> weighted mean",
        "x -> +",
    ),
    parameters="2 * C * w + 2 * C + 3 * w + 1",
    multiply_adds="2 * N * C + 2 * C * w",
    maps="N",
    options={"reduction": 16},
    symbols={"w": ("C / reduction", "max(1, C // reduction)")},
    tasks=("classification", "dense prediction"),
    related=("se", "scse", "double"),
    networks=("AttentionResNet",),
    small={"reduction": 4},
)
