"""Heads: classifiers."""

from attn_core.layers.heads.residual import ResidualAttention

__all__ = [
    "ResidualAttention",
]
