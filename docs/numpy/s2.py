import numpy as np

from numpy_layers import dense, gelu, softmax


def shift(x, directions):
    """Shift the quarters of the channels; the border keeps its values."""
    y = x.copy()
    parts = zip(np.split(x, 4, -1), np.split(y, 4, -1), directions)
    for old, new, direction in parts:  # `new` is a view of y
        if direction == "down":
            new[:, 1:] = old[:, :-1]
        elif direction == "up":
            new[:, :-1] = old[:, 1:]
        elif direction == "right":
            new[:, :, 1:] = old[:, :, :-1]
        elif direction == "left":
            new[:, :, :-1] = old[:, :, 1:]
    return y


def s2(x, w):
    """S2 attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    x1, x2, x3 = np.split(dense(x, w, "expand"), 3, -1)
    z1 = shift(x1, ("down", "up", "right", "left"))
    z2 = shift(x2, ("right", "left", "down", "up"))
    z = np.stack([z1, z2, x3], 1)  # (B, 3, H, W, C)

    # Split attention: a softmax weights the three in every channel.
    total = z.sum((1, 2, 3))  # (B, C)
    scores = dense(gelu(dense(total, w, "squeeze")), w, "excite")
    a = softmax(scores.reshape(B, 3, 1, 1, C), 1)
    return dense((a * z).sum(1), w, "project")
