import numpy as np

from numpy_layers import attention, dense, merge_heads, split_heads


def bottleneck(x, w, num_heads=4):
    """Bottleneck self-attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    tokens = x.reshape(B, H * W, C)
    q = split_heads(dense(tokens, w, "query"), num_heads)
    k = split_heads(dense(tokens, w, "key"), num_heads)
    v = split_heads(dense(tokens, w, "value"), num_heads)

    # The vectors of each offset, key minus query: (HW, HW, d).
    row, column = np.divmod(np.arange(H * W), W)
    dy, dx = row - row[:, None], column - column[:, None]
    r = w["rows"][dy + H - 1] + w["columns"][dx + W - 1]
    bias = np.einsum("bhqd,qkd->bhqk", q, r, optimize=True)
    return merge_heads(attention(q, k, v, bias)).reshape(B, H, W, C)
