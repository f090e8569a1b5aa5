import numpy as np

from numpy_layers import attention, dense, merge_heads


def coatnet(x, w, num_heads=8):
    """Relative self-attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    # The kernel gives, head by head, query, key and value.
    qkv = dense(x.reshape(B, H * W, C), w, "qkv")
    qkv = qkv.reshape(B, H * W, num_heads, 3, -1)
    q, k, v = qkv.transpose(3, 0, 2, 1, 4)  # (B, heads, HW, d) each

    # A bias for each head and offset, query minus key.
    row, column = np.divmod(np.arange(H * W), W)
    dy, dx = row[:, None] - row, column[:, None] - column  # (HW, HW)
    table = w["table"].reshape(2 * H - 1, 2 * W - 1, num_heads)
    bias = table[dy + H - 1, dx + W - 1].transpose(2, 0, 1)

    y = merge_heads(attention(q, k, v, bias)).reshape(B, H, W, -1)
    return dense(y, w, "project")
