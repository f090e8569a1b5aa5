from numpy_layers import dense, gelu, softmax


def mix(segments, w, name, axis):
    """Mix the numbers of a segment along the rows or columns of the image.

    The segments are (B, H, W, D, S): D segments of S channels.
    """
    t = segments.swapaxes(axis, 3)  # the axis comes next to S
    flat = t.reshape(*t.shape[:3], -1)  # (B, D, W, H S) or (B, H, D, W S)
    return dense(flat, w, name).reshape(t.shape).swapaxes(axis, 3)


def vip(x, w, segment_dim=8):
    """Weighted permute-MLP (ViP): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    segments = x.reshape(B, H, W, segment_dim, C // segment_dim)
    h = mix(segments, w, "height", 1).reshape(B, H, W, C)
    v = mix(segments, w, "width", 2).reshape(B, H, W, C)
    c = dense(x, w, "channels")

    # A softmax weights the three in every channel.
    mean = (h + v + c).mean((1, 2))  # (B, C)
    scores = dense(gelu(dense(mean, w, "squeeze")), w, "excite")
    a = softmax(scores.reshape(B, 1, 1, C, 3))
    y = a[..., 0] * h + a[..., 1] * v + a[..., 2] * c
    return dense(y, w, "project")
