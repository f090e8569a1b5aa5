"""Branches: a softmax weighs parallel branches."""

from attn_core.layers.branches.parnet import ParNetAttention
from attn_core.layers.branches.pyramid_squeeze import PyramidSqueezeAttention
from attn_core.layers.branches.sk import SKAttention

__all__ = [
    "ParNetAttention",
    "PyramidSqueezeAttention",
    "SKAttention",
]
