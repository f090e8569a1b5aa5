from numpy_layers import dense, sigmoid, softmax


def polarized(x, w):
    """Parallel polarized self-attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    x = x.reshape(B, H * W, C)

    # The gate of the channels: a weighted mean of the positions.
    a = softmax(dense(x, w, "channel_query"), 1)  # (B, HW, 1)
    pooled = (a * x).sum(1, keepdims=True)  # (B, 1, C)
    z = dense(pooled, w, "channel_value")  # (B, 1, C / 2)
    channels = sigmoid(dense(z, w, "expand"))  # (B, 1, C)

    # The gate of the positions: how similar each is to the mean.
    q = dense(x.mean(1, keepdims=True), w, "spatial_query")  # (B, 1, C / 2)
    v = dense(x, w, "spatial_value")  # (B, HW, C / 2)
    positions = sigmoid(softmax(v @ q.swapaxes(1, 2), 1))  # (B, HW, 1)
    return (x * (channels + positions)).reshape(B, H, W, C)
