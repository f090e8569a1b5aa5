import numpy as np

from numpy_layers import batch_norm, conv, dense, relu, softmax


def sk(x, w):
    """Selective kernel, two branches: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    # Both kernels are 3x3; the second, dilated by 2, sees 5x5 pixels.
    u = []
    for i in (0, 1):
        branch = conv(x, w, f"convolve_{i}", dilation=i + 1)
        u.append(relu(batch_norm(branch, w, f"normalize_{i}")))
    u = np.stack(u, 1)  # (B, 2, H, W, C)

    mean = u.sum(1).mean((1, 2))  # of both branches: (B, C)
    z = relu(batch_norm(dense(mean, w, "squeeze"), w, "normalize"))
    scores = dense(z, w, "select").reshape(B, 2, 1, 1, C)
    return (softmax(scores, 1) * u).sum(1)
