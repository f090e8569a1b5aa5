import numpy as np

from numpy_layers import dense, merge_heads, softmax, split_heads


def dot_product(x, w, num_heads=8):
    """Multi-head self-attention: (B, N, C) -> (B, N, C)."""
    q = split_heads(dense(x, w, "query"), num_heads)  # (B, heads, N, d)
    k = split_heads(dense(x, w, "key"), num_heads)
    v = split_heads(dense(x, w, "value"), num_heads)

    scores = q @ k.swapaxes(-1, -2)  # (B, heads, queries, keys)
    a = softmax(scores / np.sqrt(q.shape[-1]))
    return dense(merge_heads(a @ v), w, "project")
