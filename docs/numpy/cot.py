import numpy as np

from numpy_layers import (
    batch_norm,
    conv,
    dense,
    normalize,
    pad,
    relu,
    silu,
    softmax,
)


def cot(x, w, kernel_size=3, key_groups=4, share_planes=8):
    """Contextual transformer (CoTNet): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    k, G = kernel_size, C // share_planes  # G kernels at each position
    static = conv(x, w, "static", groups=key_groups)
    static = relu(batch_norm(static, w, "static_norm"))

    # Input and static context predict the kernels, normalized one by one.
    z = dense(np.concatenate([x, static], -1), w, "hidden")
    z = dense(relu(batch_norm(z, w, "hidden_norm")), w, "kernels")
    z = normalize(z.reshape(B, H, W, G, k * k), (1, 2, 4)).reshape(z.shape)
    z = z * w["kernels_norm/gamma"] + w["kernels_norm/beta"]
    kernels = z.reshape(B, H, W, 1, G, k * k)

    # Channels g, g + G, g + 2G, ... of the neighbours use kernel g.
    v = batch_norm(dense(x, w, "value"), w, "value_norm")
    v = pad(v, k // 2, k // 2).reshape(B, H + k - 1, W + k - 1, -1, G)
    dynamic = 0
    for n in range(k * k):
        i, j = divmod(n, k)
        dynamic = dynamic + kernels[..., n] * v[:, i : i + H, j : j + W]
    dynamic = dynamic.reshape(B, H, W, C)
    dynamic = silu(batch_norm(dynamic, w, "dynamic_norm"))

    # A softmax weights the two contexts of each channel.
    z = dense((dynamic + static).mean((1, 2)), w, "squeeze")
    z = dense(relu(batch_norm(z, w, "squeeze_norm")), w, "select")
    a = softmax(z.reshape(B, 1, 1, C, 2))
    return a[..., 0] * dynamic + a[..., 1] * static
