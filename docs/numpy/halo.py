import numpy as np

from numpy_layers import dense, pad, softmax


def halo(x, w, block_size=7, halo_size=3, num_heads=8):
    """Halo attention (HaloNet): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    b, h, d = block_size, halo_size, C // num_heads
    q = dense(x, w, "query").reshape(B, H, W, num_heads, d)
    # The kernel gives, head by head, key and value.
    kv = pad(dense(x, w, "key_value"), h, h)
    kv = kv.reshape(B, H + 2 * h, W + 2 * h, num_heads, 2, d)

    # Row m of a window and row i of its block: m - i + side - 1.
    side = b + 2 * h  # of the window
    entry = np.arange(side) - np.arange(b)[:, None] + side - 1
    rows, columns = w["rows"][entry], w["columns"][entry]  # (b, side, d)

    y = np.zeros_like(q)
    for top in range(0, H, b):
        for left in range(0, W, b):
            block = slice(None), slice(top, top + b), slice(left, left + b)
            window = kv[:, top : top + side, left : left + side]
            k, v = window[..., 0, :], window[..., 1, :]
            s = np.einsum("bijhd,bmnhd->bhijmn", q[block], k) / np.sqrt(d)
            s += np.einsum("bijhd,imd->bhijm", q[block], rows)[..., None]
            s += np.einsum("bijhd,jnd->bhijn", q[block], columns)[..., None, :]
            a = softmax(s.reshape(B, num_heads, b, b, -1)).reshape(s.shape)
            y[block] = np.einsum("bhijmn,bmnhd->bijhd", a, v)
    return y.reshape(B, H, W, C)
