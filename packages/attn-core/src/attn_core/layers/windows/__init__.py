"""Neighbourhoods: every position attends to those around it."""

from attn_core.layers.windows._acmix import ACmix as ACmix
from attn_core.layers.windows._aft_conv import AFTConv as AFTConv
from attn_core.layers.windows._cot import CoTAttention as CoTAttention
from attn_core.layers.windows._cross_former import CrossFormerAttention as CrossFormerAttention
from attn_core.layers.windows._halo import HaloAttention as HaloAttention
from attn_core.layers.windows._neighborhood import (
    NeighborhoodAttention as NeighborhoodAttention,
)
from attn_core.layers.windows._outlook import OutlookAttention as OutlookAttention
from attn_core.layers.windows._window import WindowAttention as WindowAttention
