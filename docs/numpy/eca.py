import numpy as np

from numpy_layers import sigmoid


def eca(x, w):
    """Efficient channel attention: (B, H, W, C) -> (B, H, W, C)."""
    kernel = w["kernel"]  # (k,)
    k, C = len(kernel), x.shape[-1]
    mean = x.mean((1, 2))  # (B, C)
    mean = np.pad(mean, ((0, 0), (k // 2, k // 2)))  # zeros at both ends
    scores = sum(kernel[i] * mean[:, i : i + C] for i in range(k))  # (B, C)
    return x * sigmoid(scores)[:, None, None, :]
