from numpy_layers import sigmoid


def sge(x, w, groups=64):
    """Spatial group enhance: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    x = x.reshape(B, H, W, groups, C // groups)
    # How similar each position is to the mean of the image.
    s = (x * x.mean((1, 2), keepdims=True)).sum(-1)  # (B, H, W, groups)

    s = s - s.mean((1, 2), keepdims=True)
    s = s / (s.std((1, 2), keepdims=True, ddof=1) + 1e-5)
    gate = sigmoid(w["scale"] * s + w["bias"])
    return (x * gate[..., None]).reshape(B, H, W, C)
