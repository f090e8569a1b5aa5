"""Attention over the whole image."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=4,
    title="Attention over the whole image",
    place=(
        "Use it after a block late in a network, where the image is small: most of these "
        "mechanisms compare all positions, or all channels, with each other."
    ),
)
