from numpy_layers import batch_norm, conv, dense, relu, sigmoid


def bam(x, w, dilation=4):
    """BAM: (B, H, W, C) -> (B, H, W, C)."""
    # The channel branch: a small network on the mean of each channel.
    c = dense(x.mean((1, 2), keepdims=True), w, "channel_0")
    c = relu(batch_norm(c, w, "channel_0_norm"))  # (B, 1, 1, C / r)
    c = dense(c, w, "channel_last")  # (B, 1, 1, C)

    # The spatial branch: dilated 3x3 convolutions of fewer channels.
    s = dense(x, w, "spatial_reduce")
    s = relu(batch_norm(s, w, "spatial_reduce_norm"))  # (B, H, W, C / r)
    for name in ("spatial_0", "spatial_1"):
        s = conv(s, w, name, dilation=dilation)
        s = relu(batch_norm(s, w, f"{name}_norm"))
    s = dense(s, w, "spatial_last")  # (B, H, W, 1)
    return x * (1 + sigmoid(c * s))
