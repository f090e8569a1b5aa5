"""The networks in which the mechanisms were published."""

from attn_core.models._attention_resnet import AttentionResNet
from attn_core.models._coatnet import CoAtNet, CoAtNetForm
from attn_core.models._cotnet import CoTBottleneck, CoTNet
from attn_core.models._gfnet import GFNet, GFNetPyramid
from attn_core.models._halonet import HaloNet
from attn_core.models._mobile_vit import MobileViT
from attn_core.models._mobile_vit_v2 import MobileViTv2
from attn_core.models._nat import NAT
from attn_core.models._parnet import ParNet
from attn_core.models._preprocess import Preprocess as Preprocess
from attn_core.models._resnest import ResNeSt
from attn_core.models._rest import ResT
from attn_core.models._swin import Swin
from attn_core.models._van import VAN
from attn_core.models._vision_permutator import VisionPermutator
from attn_core.models._volo import VOLO

__all__ = [
    "NAT",
    "VAN",
    "VOLO",
    "AttentionResNet",
    "CoAtNet",
    "CoAtNetForm",
    "CoTBottleneck",
    "CoTNet",
    "GFNet",
    "GFNetPyramid",
    "HaloNet",
    "MobileViT",
    "MobileViTv2",
    "ParNet",
    "ResNeSt",
    "ResT",
    "Swin",
    "VisionPermutator",
]
