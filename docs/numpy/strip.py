from numpy_layers import conv, sigmoid


def strip(x, w):
    """Strip attention: (B, H, W, C) -> (B, H, W, C)."""
    C = x.shape[-1]
    rows = x.mean(2, keepdims=True)  # (B, H, 1, C)
    rows = conv(rows, w, "rows", groups=C)  # k x 1, depthwise
    columns = x.mean(1, keepdims=True)  # (B, 1, W, C)
    columns = conv(columns, w, "columns", groups=C)  # 1 x k, depthwise
    return x * sigmoid(rows + columns)
