from numpy_layers import dense, relu, sigmoid


def se(x, w):
    """Squeeze-and-excitation: (B, H, W, C) -> (B, H, W, C)."""
    mean = x.mean(axis=(1, 2))  # (B, C)
    z = relu(dense(mean, w, "squeeze"))  # (B, C / r)
    gate = sigmoid(dense(z, w, "excite"))  # (B, C)
    return x * gate[:, None, None, :]
