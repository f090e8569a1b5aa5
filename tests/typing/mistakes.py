"""Mistakes of users. mypy and pyright must flag every marked line, and no other."""

import attn_core
import keras
import numpy as np
from attn_core import (
    CBAM,
    Backup,
    MBConv,
    RelativeSelfAttention,
    SEAttention,
    compat,
)
from attn_core.models import CoAtNet, MobileViT

model = keras.Sequential()
image = np.ones((8, 8, 3))

# A misspelt name.
SEAttention(redution=4)  # mistake
MobileViT(num_clases=10)  # mistake
compat.SEAttention(chanel=512)  # mistake
attn_core.no_such_name  # mistake
attn_core.layers.NoSuchLayer  # mistake
attn_core.models.NoSuchNetwork  # mistake
attn_core.profile(model, (1, 8, 8, 3), mode="eager")  # mistake
attn_core.profile(model, (1, 8, 8, 3)).parameters  # mistake

# A value of another type.
SEAttention(reduction="4")  # mistake
SEAttention(data_format=1)  # mistake
SEAttention(name=5)  # mistake
SEAttention(trainable="yes")  # mistake
CoAtNet(num_classes="ten")  # mistake
attn_core.profile(model, 224)  # mistake
attn_core.profile(model, (1, 8, 8, 3), modes=("compield",))  # mistake
attn_core.visualize(model, image, head="all")  # mistake
attn_core.insert_attention(model, SEAttention, 3)  # mistake
Backup(3)  # mistake

# A missing argument, or one too many.
CBAM(16, 7)  # mistake
MBConv()  # mistake
SEAttention().call()  # mistake
RelativeSelfAttention().build()  # mistake
attn_core.insert_attention(model)  # mistake
attn_core.attention_maps(model)  # mistake
attn_core.visualize(model)  # mistake
attn_core.load_torch_weights(SEAttention())  # mistake
attn_core.layout_map(model)  # mistake
