"""Channel and spatial gates."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=1,
    title="Channel and spatial gates",
    place=(
        "Use it after a convolution and its norm, or at the end of a residual branch, before the "
        "sum. The output has the shape of the input."
    ),
)
