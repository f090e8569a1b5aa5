from numpy_layers import dense, softmax


def dual(x, w):
    """Dual attention (DANet): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    x = x.reshape(B, H * W, C)

    # Every position attends to all positions.
    q = dense(x, w, "position/query")  # (B, HW, C / r)
    k = dense(x, w, "position/key")
    v = dense(x, w, "position/value")  # (B, HW, C)
    a = softmax(q @ k.swapaxes(1, 2))  # (B, HW, HW)
    positions = x + w["position/gamma"] * (a @ v)

    # Every channel attends to all, most to those that are least similar.
    a = softmax(-x.swapaxes(1, 2) @ x)  # (B, C, C)
    channels = x + w["channel/gamma"] * (x @ a.swapaxes(1, 2))
    return (positions + channels).reshape(B, H, W, C)
