import numpy as np

from numpy_layers import batch_norm, dense, sigmoid


def coordinate(x, w):
    """Coordinate attention: (B, H, W, C) -> (B, H, W, C)."""
    H = x.shape[1]
    # The means of all rows and of all columns: (B, H + W, C).
    lines = np.concatenate([x.mean(2), x.mean(1)], 1)
    f = batch_norm(dense(lines, w, "squeeze"), w, "norm")
    f = f * np.clip(f + 3, 0, 6) / 6  # h-swish: (B, H + W, C / r)

    rows = sigmoid(dense(f[:, :H], w, "excite_rows"))  # (B, H, C)
    columns = sigmoid(dense(f[:, H:], w, "excite_columns"))  # (B, W, C)
    return x * rows[:, :, None, :] * columns[:, None, :, :]
