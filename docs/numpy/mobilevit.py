import numpy as np

from numpy_layers import (
    attention,
    batch_norm,
    conv,
    dense,
    layer_norm,
    merge_heads,
    silu,
    split_heads,
)


def transformer(x, w, name, num_heads=4):
    """Pre-norm transformer: (B, N, D) -> (B, N, D)."""
    qkv = layer_norm(x, w, f"{name}/attention_norm")
    qkv = np.split(dense(qkv, w, f"{name}/query_key_value"), 3, -1)
    q, k, v = (split_heads(part, num_heads) for part in qkv)
    x = x + dense(merge_heads(attention(q, k, v)), w, f"{name}/project")

    z = layer_norm(x, w, f"{name}/ffn_norm")
    z = silu(dense(z, w, f"{name}/expand"))
    return x + dense(z, w, f"{name}/contract")


def mobilevit(x, w, patch_size=2, num_blocks=2):
    """MobileViT block: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    u = conv(x, w, "local/convolution")
    u = dense(silu(batch_norm(u, w, "local/norm")), w, "widen")

    # The pixels at the same place of their patches are one sequence.
    p, h, v = patch_size, H // patch_size, W // patch_size
    u = u.reshape(B, h, p, v, p, -1).transpose(0, 2, 4, 1, 3, 5)
    t = u.reshape(B * p * p, h * v, -1)  # (B p p, patches, D)
    for i in range(num_blocks):
        t = transformer(t, w, f"encoder_{i}")
    t = layer_norm(t, w, "norm").reshape(u.shape)
    t = t.transpose(0, 3, 1, 4, 2, 5).reshape(B, H, W, -1)

    t = dense(t, w, "project/convolution")
    t = silu(batch_norm(t, w, "project/norm"))  # (B, H, W, C)
    y = conv(np.concatenate([x, t], -1), w, "fuse/convolution")
    return silu(batch_norm(y, w, "fuse/norm"))
