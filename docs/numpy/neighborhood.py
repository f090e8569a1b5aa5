import numpy as np

from numpy_layers import dense, softmax


def neighborhood(x, w, kernel_size=7, num_heads=8):
    """Neighbourhood attention (NAT): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    s, d = kernel_size, C // num_heads
    qkv = dense(x, w, "qkv").reshape(B, H, W, 3, num_heads, d)
    q, k, v = qkv.transpose(3, 0, 1, 2, 4, 5)  # (B, H, W, heads, d)

    y = np.zeros_like(q)
    for i in range(H):
        for j in range(W):
            # The window is centred, but stays inside the image.
            top = np.clip(i - s // 2, 0, H - s)
            left = np.clip(j - s // 2, 0, W - s)
            keys = slice(None), slice(top, top + s), slice(left, left + s)
            scores = np.einsum("bhd,bmnhd->bhmn", q[:, i, j], k[keys])
            # A bias for each head and offset, key minus query.
            dy, dx = top - i + s - 1, left - j + s - 1
            bias = w["table"][:, dy : dy + s, dx : dx + s]
            a = (scores / np.sqrt(d) + bias).reshape(B, num_heads, s * s)
            a = softmax(a).reshape(scores.shape)
            y[:, i, j] = np.einsum("bhmn,bmnhd->bhd", a, v[keys])
    return dense(y.reshape(B, H, W, C), w, "project")
