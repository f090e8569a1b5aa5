"""Attention on tokens."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=3,
    title="Attention on tokens",
    place=(
        "It takes tokens, (B, N, C). Use it instead of the attention in a transformer block, "
        "or on the positions of a small image."
    ),
)
