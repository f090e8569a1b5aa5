from numpy_layers import dense, softmax


def double(x, w):
    """Double attention (A2-Net): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    x = x.reshape(B, H * W, C)
    a = dense(x, w, "feature")  # (B, HW, features)
    b = softmax(dense(x, w, "gather"), 1)  # (B, HW, maps), over positions
    v = softmax(dense(x, w, "distribute"), -1)  # (B, HW, maps), over maps

    g = b.swapaxes(1, 2) @ a  # gather global features: (B, maps, features)
    z = v @ g  # give them to the positions: (B, HW, features)
    return dense(z, w, "project").reshape(B, H, W, C)
