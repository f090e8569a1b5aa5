"""Whole image to whole image."""

from attn_core.layers.maps._agent import AgentAttention as AgentAttention
from attn_core.layers.maps._axial import AxialAttention as AxialAttention
from attn_core.layers.maps._bilinear import BilinearAttention as BilinearAttention
from attn_core.layers.maps._bottleneck import BottleneckSelfAttention as BottleneckSelfAttention
from attn_core.layers.maps._criss_cross import CrissCrossAttention as CrissCrossAttention
from attn_core.layers.maps._deformable import DeformableAttention as DeformableAttention
from attn_core.layers.maps._double import DoubleAttention as DoubleAttention
from attn_core.layers.maps._dual import ChannelSelfAttention as ChannelSelfAttention
from attn_core.layers.maps._dual import DualAttention as DualAttention
from attn_core.layers.maps._dual import PositionAttention as PositionAttention
from attn_core.layers.maps._emsa import (
    EfficientMultiHeadSelfAttention as EfficientMultiHeadSelfAttention,
)
from attn_core.layers.maps._focused_linear import FocusedLinearAttention as FocusedLinearAttention
from attn_core.layers.maps._lambda import LambdaAttention as LambdaAttention
from attn_core.layers.maps._non_local import NonLocalAttention as NonLocalAttention
from attn_core.layers.maps._relative import RelativeSelfAttention as RelativeSelfAttention
