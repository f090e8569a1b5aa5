"""The input, multiplied by weights computed from it."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=1,
    title="The input, multiplied by weights computed from it",
    place=(
        "Use it after a convolution and its norm, or at the end of a residual branch, before the "
        "sum. The output has the shape of the input."
    ),
)
