"""Branches of convolutions."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=2,
    title="Branches of convolutions",
    place=(
        "Use it instead of the k x k convolution of a residual block, because the layer contains "
        "convolutions itself."
    ),
)
