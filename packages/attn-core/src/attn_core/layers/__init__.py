"""All layers, by name. One mechanism is one file; families are folders."""

from attn_core.layers import blocks, branches, gates, heads, maps, mixers, tokens, windows
from attn_core.layers.blocks import *  # noqa: F403
from attn_core.layers.branches import *  # noqa: F403
from attn_core.layers.gates import *  # noqa: F403
from attn_core.layers.heads import *  # noqa: F403
from attn_core.layers.maps import *  # noqa: F403
from attn_core.layers.mixers import *  # noqa: F403
from attn_core.layers.tokens import *  # noqa: F403
from attn_core.layers.windows import *  # noqa: F403

__all__ = [
    *blocks.__all__,
    *branches.__all__,
    *gates.__all__,
    *heads.__all__,
    *maps.__all__,
    *mixers.__all__,
    *tokens.__all__,
    *windows.__all__,
]
