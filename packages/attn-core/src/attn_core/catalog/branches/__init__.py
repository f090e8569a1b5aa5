"""Parallel convolutions, combined by computed weights."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=2,
    title="Parallel convolutions, combined by computed weights",
    place=(
        "Use it instead of the k x k convolution of a residual block, because the layer contains "
        "convolutions itself."
    ),
)
