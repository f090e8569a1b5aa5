import numpy as np

from numpy_layers import batch_norm, conv, dense, relu, sigmoid


def cbam(x, w):
    """CBAM: (B, H, W, C) -> (B, H, W, C)."""
    # The gate of the channels: mean and maximum go through the same layers.
    scores = 0
    for pooled in (x.mean((1, 2)), x.max((1, 2))):  # (B, C)
        hidden = relu(dense(pooled, w, "squeeze"))  # (B, C / r)
        scores = scores + dense(hidden, w, "excite")
    z = x * sigmoid(scores)[:, None, None, :]

    # The gate of the positions: first the maximum, then the mean.
    pooled = np.stack([z.max(-1), z.mean(-1)], -1)  # (B, H, W, 2)
    scores = batch_norm(conv(pooled, w, "conv"), w, "norm")  # (B, H, W, 1)
    return z * sigmoid(scores)
