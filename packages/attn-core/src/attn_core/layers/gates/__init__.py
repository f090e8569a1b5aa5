"""Gates: the input, multiplied by weights computed from it."""

from attn_core.layers.gates.bam import BAM
from attn_core.layers.gates.cbam import CBAM
from attn_core.layers.gates.coordinate import CoordinateAttention
from attn_core.layers.gates.eca import ECAAttention
from attn_core.layers.gates.polarized import (
    ParallelPolarizedSelfAttention,
    SequentialPolarizedSelfAttention,
)
from attn_core.layers.gates.se import SEAttention
from attn_core.layers.gates.sge import SpatialGroupEnhance
from attn_core.layers.gates.shuffle import ShuffleAttention
from attn_core.layers.gates.triplet import TripletAttention

__all__ = [
    "BAM",
    "CBAM",
    "CoordinateAttention",
    "ECAAttention",
    "ParallelPolarizedSelfAttention",
    "SEAttention",
    "SequentialPolarizedSelfAttention",
    "ShuffleAttention",
    "SpatialGroupEnhance",
    "TripletAttention",
]
