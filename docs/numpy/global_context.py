from numpy_layers import dense, layer_norm, relu, softmax


def global_context(x, w):
    """Global context (GCNet), added: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    tokens = x.reshape(B, H * W, C)
    a = softmax(dense(tokens, w, "score"), 1)  # one map: (B, HW, 1)
    c = (a * tokens).sum(1)  # the context: (B, C)

    z = dense(c, w, "shift/squeeze")  # (B, C / r)
    z = relu(layer_norm(z, w, "shift/squeeze_norm"))
    return x + dense(z, w, "shift/excite")[:, None, None, :]
