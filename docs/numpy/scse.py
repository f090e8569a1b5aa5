from numpy_layers import dense, relu, sigmoid


def scse(x, w):
    """scSE, both gates added: (B, H, W, C) -> (B, H, W, C)."""
    mean = x.mean((1, 2), keepdims=True)  # (B, 1, 1, C)
    z = relu(dense(mean, w, "squeeze"))  # (B, 1, 1, C / r)
    c = sigmoid(dense(z, w, "excite"))  # channels: (B, 1, 1, C)
    s = sigmoid(dense(x, w, "spatial"))  # positions: (B, H, W, 1)
    return x * c + x * s
