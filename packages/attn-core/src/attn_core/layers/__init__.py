"""All layers, by name. One mechanism is one file; families are folders."""

from attn_core.layers._base import AttentionLayer as AttentionLayer
from attn_core.layers._base import ImageLayer as ImageLayer
from attn_core.layers._base import QueryLayer as QueryLayer
from attn_core.layers._base import TokenLayer as TokenLayer
from attn_core.layers.blocks import *
from attn_core.layers.branches import *
from attn_core.layers.gates import *
from attn_core.layers.heads import *
from attn_core.layers.maps import *
from attn_core.layers.mixers import *
from attn_core.layers.tokens import *
from attn_core.layers.windows import *
