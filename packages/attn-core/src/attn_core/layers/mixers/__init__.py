"""Mixers: positions are mixed without queries and keys."""

from attn_core.layers.mixers._global_filter import GlobalFilter as GlobalFilter
from attn_core.layers.mixers._permute_mlp import WeightedPermuteMLP as WeightedPermuteMLP
from attn_core.layers.mixers._spatial_shift import S2Attention as S2Attention
