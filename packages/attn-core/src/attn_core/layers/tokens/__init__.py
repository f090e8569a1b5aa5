"""Tokens to tokens."""

from attn_core.layers.tokens.aft import AFTConv, AFTFull, AFTLocal, AFTSimple
from attn_core.layers.tokens.dot_product import ScaledDotProductAttention
from attn_core.layers.tokens.emsa import EfficientMultiHeadSelfAttention
from attn_core.layers.tokens.external import ExternalAttention
from attn_core.layers.tokens.muse import MUSEAttention
from attn_core.layers.tokens.separable import SeparableSelfAttention
from attn_core.layers.tokens.simplified import SimplifiedScaledDotProductAttention
from attn_core.layers.tokens.ufo import UFOAttention

__all__ = [
    "AFTConv",
    "AFTFull",
    "AFTLocal",
    "AFTSimple",
    "EfficientMultiHeadSelfAttention",
    "ExternalAttention",
    "MUSEAttention",
    "ScaledDotProductAttention",
    "SeparableSelfAttention",
    "SimplifiedScaledDotProductAttention",
    "UFOAttention",
]
