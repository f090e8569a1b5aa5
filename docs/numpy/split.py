import numpy as np

from numpy_layers import batch_norm, conv, relu, softmax


def split(x, w, radix=2):
    """Split attention (ResNeSt), groups=1: (B, H, W, C) -> (B, H, W, C)."""
    u = conv(x, w, "convolve", groups=radix)
    u = relu(batch_norm(u, w, "convolve_norm"))
    u = np.stack(np.split(u, radix, -1), 1)  # the blocks: (B, radix, H, W, C)

    mean = u.sum(1).mean((1, 2), keepdims=True)  # (B, 1, 1, C)
    z = conv(mean, w, "squeeze")
    z = relu(batch_norm(z, w, "squeeze_norm"))  # (B, 1, 1, width)
    scores = conv(z, w, "select")  # (B, 1, 1, radix C), block by block
    a = softmax(np.stack(np.split(scores, radix, -1), 1), 1)
    return (a * u).sum(1)
