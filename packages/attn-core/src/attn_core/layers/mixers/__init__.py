"""Mixers: no attention map."""

from attn_core.layers.mixers.global_filter import GlobalFilter
from attn_core.layers.mixers.permute_mlp import WeightedPermuteMLP
from attn_core.layers.mixers.spatial_shift import S2Attention

__all__ = [
    "GlobalFilter",
    "S2Attention",
    "WeightedPermuteMLP",
]
