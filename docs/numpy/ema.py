from numpy_layers import conv, dense, normalize, sigmoid, softmax


def ema(x, w, groups=32):
    """Efficient multi-scale attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    n = C // groups
    s = x.reshape(B, H, W, groups, n).transpose(0, 3, 1, 2, 4)
    s = s.reshape(B * groups, H, W, n)  # the groups share all weights

    # The first branch gates the rows and the columns; the norm is over the
    # image, channel by channel. The second branch is a 3x3 convolution.
    rows = sigmoid(dense(s.mean(2, keepdims=True), w, "pointwise"))
    columns = sigmoid(dense(s.mean(1, keepdims=True), w, "pointwise"))
    y1 = normalize(s * rows * columns, (1, 2))
    y1 = y1 * w["norm/gamma"] + w["norm/beta"]
    y2 = conv(s, w, "spatial")

    # The mean of each branch weights the channels of the other.
    a1 = softmax(y1.mean((1, 2), keepdims=True))  # (B groups, 1, 1, n)
    a2 = softmax(y2.mean((1, 2), keepdims=True))
    gate = sigmoid((a1 * y2 + a2 * y1).sum(-1, keepdims=True))
    y = (s * gate).reshape(B, groups, H, W, n)
    return y.transpose(0, 2, 3, 1, 4).reshape(B, H, W, C)
