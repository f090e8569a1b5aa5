from numpy_layers import conv, dense, gelu


def large_kernel(x, w, dilation=3):
    """Large kernel attention (VAN): (B, H, W, C) -> (B, H, W, C)."""
    C = x.shape[-1]
    u = gelu(dense(x, w, "project_in"))
    # A 21x21 kernel in parts: 5x5, 7x7 dilated by 3, 1x1.
    g = conv(u, w, "near", groups=C)
    g = conv(g, w, "far", dilation=dilation, groups=C)
    g = dense(g, w, "mix")
    return dense(u * g, w, "project_out") + x
