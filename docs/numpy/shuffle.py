import numpy as np

from numpy_layers import normalize, sigmoid


def shuffle(x, w, groups=64):
    """Shuffle attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    x = x.reshape(B, H, W, groups, C // groups)
    x1, x2 = np.split(x, 2, -1)  # the halves of each group

    mean = x1.mean((1, 2), keepdims=True)  # a number for each channel
    y1 = x1 * sigmoid(w["channel_scale"] * mean + w["channel_bias"])

    norm = normalize(x2, (1, 2)) * w["gamma"] + w["beta"]  # over the image
    y2 = x2 * sigmoid(w["spatial_scale"] * norm + w["spatial_bias"])

    # All channels of both halves in one row, then 0, C/2, 1, C/2 + 1, ...
    y = np.concatenate([y1, y2], -1).reshape(B, H, W, 2, C // 2)
    return y.swapaxes(3, 4).reshape(B, H, W, C)
