import numpy as np

from numpy_layers import (
    conv,
    dense,
    layer_norm,
    merge_heads,
    normalize,
    softmax,
    split_heads,
)


def emsa(x, w, num_heads=8, sr_ratio=2):
    """Efficient multi-head self-attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    q = split_heads(dense(x.reshape(B, H * W, C), w, "query"), num_heads)

    # Keys and values come from a smaller image, of a depthwise convolution.
    small = conv(x, w, "reduce", stride=sr_ratio, groups=C)
    small = layer_norm(small.reshape(B, -1, C), w, "reduce_norm")
    k, v = np.split(dense(small, w, "key_value"), 2, -1)
    k, v = split_heads(k, num_heads), split_heads(v, num_heads)

    # A 1x1 convolution over the heads mixes their scores.
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    scores = np.einsum("oh,bhqk->boqk", w["transform"], scores)
    a = softmax(scores + w["transform_bias"][:, None, None])
    a = normalize(a, (2, 3))  # the instance norm: each map by itself
    return dense(merge_heads(a @ v), w, "project").reshape(B, H, W, C)
