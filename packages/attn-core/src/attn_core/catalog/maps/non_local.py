"""Non-local attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=40,
    name="Non-local attention",
    layers={
        "NonLocalAttention": LayerRecord(
            cases=(
                image(8),
                image(8, reduction=3, use_scale=False, pool_size=2),
            ),
            legal={"reduction": [1, 100], "use_scale": [True, False], "pool_size": [1, 2]},
            one_position=False,
            permutable=({}, {"use_scale": False}),
            no_gradient=("key/bias",),
            drawn=("image",),
            starts={"project_norm/gamma": 0},
        ),
    },
    input="image",
    summary="Adds to every position a weighted mean of all positions, after batch normalization.",
    title="Non-local Neural Networks",
    authors="Wang, Girshick, Gupta, He",
    year=2017,
    venue="CVPR 2018",
    arxiv="1711.07971",
    reference="BA-Transform/BAT-Image-Classification",
    port=True,
    aliases=("nl", "nonlocal", "non-local block"),
    use=(
        "At initialisation its output equals its input, so you can add it to a trained network. "
        "Use one, or a few, between the blocks of a late stage; with `pool_size=2` the map has a "
        "quarter of the keys."
    ),
    flow=(
        "x -> query -> scores / √d -> softmax over keys -> * values -> 1x1 conv -> BN -> + -> y",
        "x -> max pool -> key -> scores / √d",
        "max pool -> value -> * values",
        "x -> +",
    ),
    parameters="4 * C * d + 3 * d + 3 * C",
    multiply_adds="4 * N * C * d + 2 * N**2 * d",
    maps="N**2",
    options={"reduction": 2},
    symbols={"d": ("C / reduction", "max(1, C // reduction)")},
    tasks=("classification", "dense prediction"),
    related=("global-context", "dual", "double"),
)
