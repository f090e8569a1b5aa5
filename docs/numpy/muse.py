import numpy as np

from numpy_layers import attention, dense, merge_heads, softmax, split_heads


def muse(x, w, num_heads=8, kernel_sizes=(3, 15)):
    """MUSE, attention beside convolutions: (B, N, C) -> (B, N, C)."""
    B, N, C = x.shape
    q = split_heads(dense(x, w, "query"), num_heads)  # (B, heads, N, d)
    k = split_heads(dense(x, w, "key"), num_heads)
    value = dense(x, w, "value")  # (B, N, C), for both parts
    attended = merge_heads(attention(q, k, split_heads(value, num_heads)))

    convolved = 0
    for i, size in enumerate(kernel_sizes):
        # Every token predicts, from its value, a kernel for each head.
        kernels = dense(value, w, f"kernel_{i}")
        kernels = softmax(kernels.reshape(B, N, num_heads, size))
        margin = size // 2
        v = np.pad(value, ((0, 0), (margin, margin), (0, 0)))
        v = v.reshape(B, N + 2 * margin, num_heads, C // num_heads)
        y = sum(kernels[..., j, None] * v[:, j : j + N] for j in range(size))
        convolved = convolved + softmax(w["gate"])[i] * y.reshape(B, N, C)
    return dense(np.concatenate([attended, convolved], -1), w, "project")
