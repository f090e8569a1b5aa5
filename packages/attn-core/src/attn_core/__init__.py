"""Attention mechanisms as Keras 3 layers, tested against their references."""

from attn_core import _backend
from attn_core._version import __version__ as __version__

if not _backend.started_by_command():
    _backend.require_backend()

    from attn_core import catalog as catalog
    from attn_core import compat as compat
    from attn_core import distribution as distribution
    from attn_core import layers as layers
    from attn_core import models as models
    from attn_core._tools.backup import Backup as Backup
    from attn_core._tools.creation import create_attention as create_attention
    from attn_core._tools.insertion import insert_attention as insert_attention
    from attn_core._tools.maps import attention_maps as attention_maps
    from attn_core._tools.pictures import visualize as visualize
    from attn_core._tools.profiling import Profile as Profile
    from attn_core._tools.profiling import profile as profile
    from attn_core._weights import load_torch_weights as load_torch_weights
    from attn_core.distribution import layout_map as layout_map
    from attn_core.layers.blocks import *
    from attn_core.layers.branches import *
    from attn_core.layers.gates import *
    from attn_core.layers.heads import *
    from attn_core.layers.maps import *
    from attn_core.layers.mixers import *
    from attn_core.layers.tokens import *
    from attn_core.layers.windows import *
