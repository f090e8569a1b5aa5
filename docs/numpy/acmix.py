import numpy as np

from numpy_layers import conv, dense, pad, softmax


def acmix(x, w, num_heads=4, kernel_size=7):
    """ACmix: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    s, d = kernel_size, C // num_heads
    q = dense(x, w, "query").reshape(B, H, W, num_heads, d)
    k = dense(x, w, "key").reshape(q.shape)
    v = dense(x, w, "value").reshape(q.shape)

    # A linear map of the coordinates (column, row), from -1 to 1.
    columns, rows = np.meshgrid(np.linspace(-1, 1, W), np.linspace(-1, 1, H))
    p = dense(np.stack([columns, rows], -1), w, "position")
    p = p[None, :, :, None]  # (1, H, W, 1, d)

    def around(t):  # each position of the windows: (s s, B, H, W, heads, d)
        t = pad(t, s // 2, s // 2, mode="reflect")
        window = [(i, j) for i in range(s) for j in range(s)]
        return np.stack([t[:, i : i + H, j : j + W] for i, j in window])

    scores = (q * (around(k) + p - around(p))).sum(-1) / np.sqrt(d)
    a = (softmax(scores, 0)[..., None] * around(v)).sum(0)
    a = a.reshape(B, H, W, C)

    # For each channel of a head, q, k and v of all heads become 9 maps.
    joint = np.concatenate([q, k, v], 3).swapaxes(3, 4)  # (.., d, 3 heads)
    maps = dense(joint, w, "join").reshape(B, H, W, d * 9)
    c = conv(maps, w, "shift", groups=d)  # (B, H, W, C)
    return w["attention_rate"] * a + w["convolution_rate"] * c
