import numpy as np

from numpy_layers import attention, dense, merge_heads, split_heads


def window(x, w, window_size=7, shift_size=0, num_heads=8):
    """Window attention (Swin): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    s, shift = window_size, shift_size
    x = np.roll(x, (-shift, -shift), (1, 2))

    # A bias for each head and offset, query minus key.
    row, column = np.divmod(np.arange(s * s), s)
    dy, dx = row[:, None] - row, column[:, None] - column  # (ss, ss)
    table = w["table"].reshape(2 * s - 1, 2 * s - 1, num_heads)
    bias = table[dy + s - 1, dx + s - 1].transpose(2, 0, 1)

    y = np.zeros_like(x)
    for top in range(0, H, s):
        for left in range(0, W, s):
            block = slice(None), slice(top, top + s), slice(left, left + s)
            qkv = dense(x[block].reshape(B, s * s, C), w, "qkv")
            qkv = np.split(qkv, 3, -1)
            q, k, v = (split_heads(part, num_heads) for part in qkv)
            # The roll has brought these pixels from the opposite side.
            far = 2 * (top + row >= H - shift) + (left + column >= W - shift)
            m = -100 * (far[:, None] != far)
            h = merge_heads(attention(q, k, v, bias + m))
            y[block] = dense(h, w, "project").reshape(B, s, s, C)
    return np.roll(y, (shift, shift), (1, 2))
