import numpy as np

from numpy_layers import dense, merge_heads, softmax, split_heads


def differential(x, w, num_heads=8, depth=0):
    """Differential attention: (B, N, C) -> (B, N, C)."""
    # Each head has two queries and two keys.
    q = split_heads(dense(x, w, "query"), 2 * num_heads)  # (B, 2 heads, N, d)
    k = split_heads(dense(x, w, "key"), 2 * num_heads)
    v = split_heads(dense(x, w, "value"), num_heads)  # (B, heads, N, 2 d)
    maps = softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]))

    start = 0.8 - 0.6 * np.exp(-0.3 * depth)
    first = np.exp(w["lambda_q1"] @ w["lambda_k1"])
    second = np.exp(w["lambda_q2"] @ w["lambda_k2"])
    a = maps[:, 0::2] - (first - second + start) * maps[:, 1::2]

    y = a @ v  # (B, heads, N, 2 d)
    y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5)  # RMS norm
    y = (1 - start) * y * w["gamma"]
    return dense(merge_heads(y), w, "project")
