"""The networks in which the mechanisms were published."""

from attn_core.models.coatnet import CoAtNet
from attn_core.models.cotnet import CoTBottleneck, CoTNet
from attn_core.models.gfnet import GFNet, GFNetPyramid
from attn_core.models.mobile_vit import MobileViT
from attn_core.models.mobile_vit_v2 import MobileViTv2
from attn_core.models.parnet import ParNet
from attn_core.models.rest import ResT
from attn_core.models.vision_permutator import VisionPermutator
from attn_core.models.volo import VOLO

__all__ = [
    "VOLO",
    "CoAtNet",
    "CoTBottleneck",
    "CoTNet",
    "GFNet",
    "GFNetPyramid",
    "MobileViT",
    "MobileViTv2",
    "ParNet",
    "ResT",
    "VisionPermutator",
]
