"""Tokens to tokens."""

from attn_core.layers.tokens._aft_full import AFTFull as AFTFull
from attn_core.layers.tokens._aft_local import AFTLocal as AFTLocal
from attn_core.layers.tokens._aft_simple import AFTSimple as AFTSimple
from attn_core.layers.tokens._differential import (
    DifferentialAttention as DifferentialAttention,
)
from attn_core.layers.tokens._dot_product import (
    ScaledDotProductAttention as ScaledDotProductAttention,
)
from attn_core.layers.tokens._external import ExternalAttention as ExternalAttention
from attn_core.layers.tokens._linear import LinearAttention as LinearAttention
from attn_core.layers.tokens._muse import MUSEAttention as MUSEAttention
from attn_core.layers.tokens._separable import SeparableSelfAttention as SeparableSelfAttention
from attn_core.layers.tokens._simplified import (
    SimplifiedScaledDotProductAttention as SimplifiedScaledDotProductAttention,
)
from attn_core.layers.tokens._ufo import UFOAttention as UFOAttention
