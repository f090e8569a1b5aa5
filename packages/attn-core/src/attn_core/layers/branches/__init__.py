"""Branches: parallel convolutions, combined by computed weights."""

from attn_core.layers.branches._parnet import ParNetAttention as ParNetAttention
from attn_core.layers.branches._pyramid_squeeze import (
    PyramidSqueezeAttention as PyramidSqueezeAttention,
)
from attn_core.layers.branches._sk import SKAttention as SKAttention
from attn_core.layers.branches._split import SplitAttention as SplitAttention
