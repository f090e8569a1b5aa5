"""Heads: classifiers."""

from attn_core.layers.heads._residual import ResidualAttention as ResidualAttention
