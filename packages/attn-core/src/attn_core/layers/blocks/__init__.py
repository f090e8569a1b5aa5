"""Blocks: convolution and attention together."""

from attn_core.layers.blocks.mb_conv import MBConv
from attn_core.layers.blocks.mobile_vit import MobileViTBlock
from attn_core.layers.blocks.mobile_vit_v2 import MobileViTv2Block

__all__ = [
    "MBConv",
    "MobileViTBlock",
    "MobileViTv2Block",
]
