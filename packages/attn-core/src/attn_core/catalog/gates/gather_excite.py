"""Gather-excite."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, image

RECORD = Mechanism(
    number=34,
    name="Gather-excite",
    layers={
        "GatherExciteAttention": LayerRecord(
            cases=(
                image(8, reduction=2),
                image(8, extent=4, reduction=2, drawn=("image",)),
                image(8, extent=4, extra_params=True, reduction=2, drawn=("image",)),
                image(8, extent=2, extra_params=True, use_mlp=False, drawn=("image",)),
                fixed_image(8, extra_params=True, reduction=2),
                fixed_image(8, extra_params=True, use_mlp=False),
            ),
            legal={
                "extent": [0, 2, 4],
                "extra_params": [True, False],
                "use_mlp": [True, False],
                "reduction": [2, 100],
            },
            permutable=({"reduction": 2}, {"use_mlp": False}),
            drawn=("bars",),
        ),
    },
    input="image",
    summary="Rescales each value by a gate computed from a region of its channel, or from the whole image.",
    title="Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks",
    authors="Hu, Shen, Albanie, Sun, Vedaldi",
    year=2018,
    venue="NeurIPS 2018",
    arxiv="1810.12348",
    reference="huggingface/pytorch-image-models",
    aliases=("genet", "ge"),
    use=(
        "Its smallest form has no weights and only computes a mean over the image; the form with "
        "all weights had the best accuracy in the paper. Use it at the end of each residual "
        "branch, where you want to choose between low cost and high accuracy."
    ),
    flow=(
        "x -> gather: mean over H, W -> dense to C / r, relu -> dense to C -> sigmoid -> * -> y",
        "x -> *",
    ),
    parameters="2 * C * w + C + w",
    multiply_adds="2 * C * w",
    maps="C",
    options={"reduction": 16},
    symbols={"w": ("C / reduction", "max(1, C // reduction)")},
    tasks=("classification", "mobile"),
    related=("se", "effective-se", "global-context"),
    small={"reduction": 4},
)
