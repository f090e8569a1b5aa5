import numpy as np

from numpy_layers import dense, merge_heads, split_heads


def unit(a, axis):
    return a / np.sqrt((a**2).sum(axis, keepdims=True))


def ufo(x, w, num_heads=8):
    """UFO attention: (B, N, C) -> (B, N, C)."""
    q = split_heads(dense(x, w, "query"), num_heads)  # (B, heads, N, d)
    k = split_heads(dense(x, w, "key"), num_heads)
    v = split_heads(dense(x, w, "value"), num_heads)

    # XNorm of the formula is gamma * unit. No N x N matrix appears.
    kv = w["gamma"] * unit(k.swapaxes(-1, -2) @ v, -2)  # (B, heads, d, d)
    y = w["gamma"] * unit(q, -1) @ kv  # (B, heads, N, d)
    return dense(merge_heads(y), w, "project")
