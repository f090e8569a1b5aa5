"""Whole image to whole image."""

from attn_core.layers.maps.double import DoubleAttention
from attn_core.layers.maps.dual import ChannelSelfAttention, DualAttention, PositionAttention
from attn_core.layers.maps.relative import RelativeSelfAttention

__all__ = [
    "ChannelSelfAttention",
    "DoubleAttention",
    "DualAttention",
    "PositionAttention",
    "RelativeSelfAttention",
]
