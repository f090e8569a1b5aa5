"""Neighbourhoods: every position attends to those around it."""

from attn_core.layers.windows.cot import CoTAttention
from attn_core.layers.windows.halo import HaloAttention
from attn_core.layers.windows.outlook import OutlookAttention

__all__ = [
    "CoTAttention",
    "HaloAttention",
    "OutlookAttention",
]
