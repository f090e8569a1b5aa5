import numpy as np

from numpy_layers import conv, dense, relu, sigmoid, softmax


def pyramid_squeeze(x, w, groups=(1, 4, 8, 16)):
    """Pyramid squeeze attention: (B, H, W, C) -> (B, H, W, C)."""
    # Kernels of 3, 5, 7 and 9; each branch gives C / 4 channels.
    f = [conv(x, w, f"convolve_{i}", groups=groups[i]) for i in range(4)]

    # One squeeze-and-excitation for all branches.
    means = np.stack([branch.mean((1, 2)) for branch in f], 1)  # (B, 4, C / 4)
    scores = sigmoid(dense(relu(dense(means, w, "squeeze")), w, "excite"))
    a = softmax(scores, 1)  # over the branches

    y = [f[i] * a[:, None, None, i] for i in range(4)]
    return np.concatenate(y[::-1], -1)  # the largest kernel comes first
