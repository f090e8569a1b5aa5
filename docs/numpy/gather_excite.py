from numpy_layers import dense, relu, sigmoid


def gather_excite(x, w):
    """Gather-excite from the whole image: (B, H, W, C) -> (B, H, W, C)."""
    g = x.mean((1, 2), keepdims=True)  # gather: (B, 1, 1, C)
    z = relu(dense(g, w, "squeeze"))  # excite: (B, 1, 1, C / r)
    return x * sigmoid(dense(z, w, "excite"))
