import numpy as np

from numpy_layers import conv, dense, merge_heads, relu, split_heads


def focus(t, scale, p):
    """Turn vectors towards their largest entries, and keep their lengths."""
    u = (relu(t) + 1e-6) / np.log(1 + np.exp(scale))  # softplus
    length = np.linalg.norm(u, axis=-1, keepdims=True)
    return u**p * length / np.linalg.norm(u**p, axis=-1, keepdims=True)


def focused_linear(x, w, num_heads=8, focusing_factor=3):
    """Focused linear attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    n, d = H * W, C // num_heads
    tokens = x.reshape(B, n, C)
    k, v = np.split(dense(tokens, w, "key_value"), 2, -1)
    k = focus(k + w["places"], w["scale"], focusing_factor)
    q = focus(dense(tokens, w, "query"), w["scale"], focusing_factor)
    q, k, v = (split_heads(part, num_heads) for part in (q, k, v))

    kv = k.swapaxes(-1, -2) @ v / n  # (B, heads, d, d): no n x n matrix
    mean = k.mean(2)[..., None]  # (B, heads, d, 1)
    y = merge_heads((q @ kv) / (q @ mean + 1e-6))  # (B, n, C)

    # A depthwise convolution of the values; the heads share its kernel.
    local = conv(v.reshape(B * num_heads, H, W, d), w, "local", groups=d)
    y = y + merge_heads(local.reshape(v.shape))
    return dense(y.reshape(B, H, W, C), w, "project")
