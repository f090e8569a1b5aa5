from numpy_layers import dense, relu, softmax


def mobilevit2(x, w):
    """Separable self-attention: (B, N, C) -> (B, N, C)."""
    s = softmax(dense(x, w, "query"), 1)  # a score for each token: (B, N, 1)
    c = (s * dense(x, w, "key")).sum(1, keepdims=True)  # context: (B, 1, C)
    v = relu(dense(x, w, "value"))  # (B, N, C)
    return dense(v * c, w, "project")
