import numpy as np

from numpy_layers import batch_norm, dense, relu, sigmoid


def cbr(x, w, name):
    """A 1x1 convolution, batch normalization and a relu."""
    return relu(batch_norm(dense(x, w, name), w, f"{name}_norm"))


def bilinear(x, w, block_size=7, groups=4):
    """Bilinear attention (BAT): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    s, h, v = block_size, H // block_size, W // block_size
    reduced = cbr(x, w, "reduce")  # l of the formula: (B, H, W, C / 2)
    m = cbr(reduced, w, "group")  # (B, H, W, groups)

    # P weights the rows of blocks, Q the columns: (B, groups, s, s).
    rows = m.reshape(B, s, h * W, groups).max(2)  # (B, s, groups)
    P = sigmoid(dense(rows.reshape(B, -1), w, "rows"))
    P = P.reshape(B, groups, s, s)
    P = P / P.sum(-1, keepdims=True)
    columns = m.reshape(B, H, s, v, groups).max((1, 3))  # (B, s, groups)
    Q = sigmoid(dense(columns.reshape(B, -1), w, "columns"))
    Q = Q.reshape(B, groups, s, s)
    Q = Q / Q.sum(-2, keepdims=True)

    # Block (c, d) goes to block (a, e), with the weight P[a, c] Q[d, e].
    blocks = reduced.reshape(B, s, h, s, v, groups, -1)
    y = np.einsum("bgac,bcidjgk->baidjgk", P, blocks)
    y = np.einsum("baidjgk,bgde->baiejgk", y, Q).reshape(reduced.shape)
    return x + cbr(cbr(y, w, "mix"), w, "expand")
