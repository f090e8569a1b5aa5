import numpy as np

from numpy_layers import dense, pad, softmax


def outlook(x, w, num_heads=8, kernel_size=3):
    """Outlook attention (VOLO): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    k, m, d = kernel_size, kernel_size // 2, C // num_heads
    window = [(i, j) for i in range(k) for j in range(k)]  # row by row

    # Every position predicts the map of the window around it:
    # (B, H, W, heads, queries, keys).
    a = dense(x, w, "attention").reshape(B, H, W, num_heads, k * k, k * k)
    a = softmax(a / np.sqrt(d))

    # The values of the window: (B, H, W, heads, keys, d).
    v = pad(dense(x, w, "value"), m, m).reshape(B, H + 2 * m, -1, num_heads, d)
    values = np.stack([v[:, i : i + H, j : j + W] for i, j in window], 4)

    # Each window gives k * k results; where windows overlap, they add up.
    mixed = a @ values
    y = np.zeros_like(v)
    for n, (i, j) in enumerate(window):
        y[:, i : i + H, j : j + W] += mixed[..., n, :]
    y = y[:, m : m + H, m : m + W].reshape(B, H, W, C)
    return dense(y, w, "project")
