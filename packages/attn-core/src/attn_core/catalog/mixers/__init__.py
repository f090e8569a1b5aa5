"""Mixers without queries and keys."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=6,
    title="Mixers without queries and keys",
    place=(
        "Use it in a transformer for images instead of self-attention, after the norm and before "
        "the sum."
    ),
)
