"""Bilinear attention (BAT)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=41,
    name="Bilinear attention (BAT)",
    layers={
        "BilinearAttention": LayerRecord(
            orders={
                "rows": "inputs row of blocks by row, of each the groups; outputs group by group, of each the matrix row by row",
                "columns": "inputs column of blocks by column, of each the groups; outputs group by group, of each the matrix row by row",
            },
            cases=(
                image(8, size=(4, 6), other=(2, 4), block_size=2, groups=1),
                image(12, size=(6, 3), other=(3, 6), block_size=3, groups=2, use_bias=False),
            ),
            legal=None,
            one_position=False,
            required=lambda size: {"block_size": size.divisor(8)},
            drawn=("matrix", "matrix"),
        ),
    },
    input="image",
    summary=(
        "Mixes the rows and then the columns of a grid of blocks by matrices that are computed "
        "from the image."
    ),
    title="Non-local Neural Networks with Grouped Bilinear Attentional Transforms",
    authors="Chi, Yuan, Mu, Feng, Yan",
    year=2020,
    venue="CVPR 2020",
    arxiv="",
    url=(
        "https://openaccess.thecvf.com/content_CVPR_2020/html/Chi_Non-Local_Neural_Networks_With_"
        "Grouped_Bilinear_Attentional_Transforms_CVPR_2020_paper.html"
    ),
    reference="BA-Transform/BAT-Image-Classification",
    aliases=("bat", "batblock"),
    use=(
        "Every position receives information from the whole image at a cost linear in the number "
        "of positions, because each matrix has only one row for each row, or column, of blocks. "
        "Use it between the blocks of a late stage, where height and width are multiples of 7 or "
        "8."
    ),
    flow=(
        "x -> 1x1 conv, BN, relu -> P * rows -> * Q, columns -> 1x1 conv, BN, relu#2 -> 1x1 conv, "
        "BN, relu#3 -> + -> y",
        "1x1 conv, BN, relu -> to groups, BN, relu -> max of block rows -> dense, sigmoid -> P * "
        "rows",
        "to groups, BN, relu -> max of block columns -> dense, sigmoid#2 -> * Q, columns",
        "x -> +",
    ),
    parameters="2 * C * d + d**2 + d * g + 6 * d + 3 * g + 3 * C + 2 * g**2 * s**3 + 2 * g * s**2",
    multiply_adds="2 * N * C * d + N * d**2 + N * d * g + 2 * N * d * s + 2 * g**2 * s**3",
    maps="2 * g * s**2",
    options={"reduction": 2, "block_size": 7, "groups": 4},
    symbols={
        "d": ("C / reduction", "max(1, C // reduction)"),
        "g": ("groups", "groups"),
        "s": ("block size", "block_size"),
    },
    needs=(
        "H % block_size == 0",
        "W % block_size == 0",
        "d % groups == 0",
    ),
    tasks=("classification",),
    related=("non-local", "double", "criss-cross"),
    small={"block_size": 4, "groups": 2},
)
