"""Blocks: convolution and attention together."""

from attn_core.layers.blocks._mb_conv import MBConv as MBConv
from attn_core.layers.blocks._mobile_vit import MobileViTBlock as MobileViTBlock
from attn_core.layers.blocks._mobile_vit_v2 import MobileViTv2Block as MobileViTv2Block
