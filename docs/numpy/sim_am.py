from numpy_layers import sigmoid


def sim_am(x, w, epsilon=1e-4):
    """SimAM, which has no weights: (B, H, W, C) -> (B, H, W, C)."""
    H, W = x.shape[1:3]
    d = (x - x.mean((1, 2), keepdims=True)) ** 2
    variance = d.sum((1, 2), keepdims=True) / (H * W - 1)  # (B, 1, 1, C)
    return x * sigmoid(d / (4 * (variance + epsilon)) + 1 / 2)
