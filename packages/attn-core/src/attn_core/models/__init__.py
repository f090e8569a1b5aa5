"""The networks in which the mechanisms were published."""

from attn_core.models.coatnet import CoAtNet
from attn_core.models.gfnet import GFNet, GFNetPyramid

__all__ = ["CoAtNet", "GFNet", "GFNetPyramid"]
