import numpy as np

from numpy_layers import batch_norm, conv, sigmoid


def triplet(x, w):
    """Triplet attention: (B, H, W, C) -> (B, H, W, C)."""
    gates = 0
    # Reduce the image along H, then along W, then along C.
    names = ("channel_width", "height_channel", "height_width")
    for axis, name in enumerate(names, start=1):
        pooled = np.stack([x.max(axis), x.mean(axis)], -1)  # (B, ., ., 2)
        scores = conv(pooled, w, f"{name}_conv")[..., 0]  # (B, ., .)
        scores = batch_norm(scores, w, f"{name}_norm")
        gates = gates + np.expand_dims(sigmoid(scores), axis)
    return x * gates / 3
