from numpy_layers import attention, dense, merge_heads, split_heads


def along_rows(x, w, name, num_heads):
    """Let each position attend to its row: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    rows = x.reshape(B * H, W, C)
    q = split_heads(dense(rows, w, f"{name}_query"), num_heads)
    k = split_heads(dense(rows, w, f"{name}_key"), num_heads)
    v = split_heads(dense(rows, w, f"{name}_value"), num_heads)
    y = dense(merge_heads(attention(q, k, v)), w, f"{name}_project")
    return y.reshape(B, H, W, C)


def axial(x, w, num_heads=8):
    """Axial attention, added: (B, H, W, C) -> (B, H, W, C)."""
    turned = x.swapaxes(1, 2)  # its rows are the columns of x
    columns = along_rows(turned, w, "column", num_heads).swapaxes(1, 2)
    return columns + along_rows(x, w, "row", num_heads)
