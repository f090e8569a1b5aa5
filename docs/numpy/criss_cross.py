import numpy as np

from numpy_layers import dense, softmax


def criss_cross(x, w):
    """Criss-cross attention, one pass: (B, H, W, C) -> (B, H, W, C)."""
    H = x.shape[1]
    q = dense(x, w, "query")  # (B, H, W, C / r)
    k = dense(x, w, "key")
    v = dense(x, w, "value")  # (B, H, W, C)

    # The position (i, j) attends to its column (p, j) and its row (i, p).
    column = np.einsum("bijc,bpjc->bijp", q, k)  # (B, H, W, H)
    row = np.einsum("bijc,bipc->bijp", q, k)  # (B, H, W, W)
    for i in range(H):
        column[:, i, :, i] = -np.inf  # itself once, in its row

    a = softmax(np.concatenate([column, row], -1))  # (B, H, W, H + W)
    y = np.einsum("bijp,bpjc->bijc", a[..., :H], v)
    y += np.einsum("bijp,bipc->bijc", a[..., H:], v)
    return x + w["gamma"] * y
