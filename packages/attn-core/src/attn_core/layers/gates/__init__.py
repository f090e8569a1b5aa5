"""Gates: the input, multiplied by weights computed from it."""

from attn_core.layers.gates._bam import BAM as BAM
from attn_core.layers.gates._cbam import CBAM as CBAM
from attn_core.layers.gates._coordinate import CoordinateAttention as CoordinateAttention
from attn_core.layers.gates._eca import ECAAttention as ECAAttention
from attn_core.layers.gates._effective_se import EffectiveSEAttention as EffectiveSEAttention
from attn_core.layers.gates._ema import (
    EfficientMultiScaleAttention as EfficientMultiScaleAttention,
)
from attn_core.layers.gates._gather_excite import GatherExciteAttention as GatherExciteAttention
from attn_core.layers.gates._global_context import GlobalContextAttention as GlobalContextAttention
from attn_core.layers.gates._large_kernel import LargeKernelAttention as LargeKernelAttention
from attn_core.layers.gates._polarized import (
    ParallelPolarizedSelfAttention as ParallelPolarizedSelfAttention,
)
from attn_core.layers.gates._polarized import (
    SequentialPolarizedSelfAttention as SequentialPolarizedSelfAttention,
)
from attn_core.layers.gates._scse import SCSEAttention as SCSEAttention
from attn_core.layers.gates._se import SEAttention as SEAttention
from attn_core.layers.gates._sge import SpatialGroupEnhance as SpatialGroupEnhance
from attn_core.layers.gates._shuffle import ShuffleAttention as ShuffleAttention
from attn_core.layers.gates._sim_am import SimAM as SimAM
from attn_core.layers.gates._strip import EfficientLocalAttention as EfficientLocalAttention
from attn_core.layers.gates._strip import StripAttention as StripAttention
from attn_core.layers.gates._triplet import TripletAttention as TripletAttention
