from numpy_layers import batch_norm, conv, dense, sigmoid, silu


def parnet(x, w):
    """ParNet attention: (B, H, W, C) -> (B, H, W, C)."""
    k3 = batch_norm(conv(x, w, "spatial"), w, "spatial_norm")  # 3x3
    k1 = batch_norm(dense(x, w, "pointwise"), w, "pointwise_norm")  # 1x1

    s = batch_norm(x, w, "norm")
    mean = s.mean((1, 2), keepdims=True)  # (B, 1, 1, C)
    return silu(k3 + k1 + s * sigmoid(dense(mean, w, "gate")))
