"""Local attention."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=5,
    title="Local attention",
    place=(
        "Use it instead of the k x k convolution of a residual block, or instead of the attention "
        "of a transformer on images."
    ),
)
