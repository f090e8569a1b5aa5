import numpy as np

from numpy_layers import batch_norm, dense, softmax


def non_local(x, w):
    """Non-local block: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    tokens = x.reshape(B, H * W, C)
    t = dense(tokens, w, "query")  # (B, HW, C / r)
    p = dense(tokens, w, "key")
    g = dense(tokens, w, "value")

    a = softmax(t @ p.swapaxes(1, 2) / np.sqrt(t.shape[-1]))  # (B, HW, HW)
    z = batch_norm(dense(a @ g, w, "project"), w, "project_norm")
    return x + z.reshape(B, H, W, C)
