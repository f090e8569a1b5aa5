import numpy as np

from numpy_layers import (
    attention,
    dense,
    layer_norm,
    merge_heads,
    relu,
    split_heads,
)


def biases(w, side):
    """The bias of each pair of positions of a group: (heads, GG, GG)."""
    row, column = np.divmod(np.arange(side * side), side)
    dy, dx = row[:, None] - row, column[:, None] - column  # query minus key
    b = dense(np.stack([dy, dx], -1), w, "bias_in")
    for i in (1, 2, 3):
        b = relu(layer_norm(b, w, f"bias_{i}_norm"))
        b = dense(b, w, f"bias_{i}")
    return b.transpose(2, 0, 1)


def cross_former(x, w, group_size=7, interval=None, num_heads=8):
    """CrossFormer attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    G, apart = group_size, interval or 1  # neighbours, or positions far apart
    bias = biases(w, G)
    y = np.zeros_like(x)
    # A group is spread over a block of G * apart rows and columns.
    tops = [i for i in range(H) if i % (G * apart) < apart]
    lefts = [j for j in range(W) if j % (G * apart) < apart]
    for top in tops:
        for left in lefts:
            rows = slice(top, top + G * apart, apart)
            columns = slice(left, left + G * apart, apart)
            group = x[:, rows, columns].reshape(B, G * G, C)
            q = split_heads(dense(group, w, "query"), num_heads)
            k = split_heads(dense(group, w, "key"), num_heads)
            v = split_heads(dense(group, w, "value"), num_heads)
            h = merge_heads(attention(q, k, v, bias))
            h = dense(h, w, "project").reshape(B, G, G, C)
            y[:, rows, columns] = h
    return y
