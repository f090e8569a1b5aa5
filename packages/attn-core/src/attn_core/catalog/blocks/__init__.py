"""Blocks of convolution and attention."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=7,
    title="Blocks of convolution and attention",
    place="Use it as a separate block after a downsampling, where the image is small.",
)
