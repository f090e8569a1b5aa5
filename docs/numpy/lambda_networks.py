from numpy_layers import batch_norm, conv, dense, softmax


def lambda_networks(x, w, num_heads=4, key_dim=16):
    """Lambda attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    tokens = x.reshape(B, H * W, C)
    q = batch_norm(dense(tokens, w, "query"), w, "query_norm")
    q = q.reshape(B, H * W, num_heads, key_dim)
    k = softmax(dense(tokens, w, "key"), 1)  # (B, HW, K), over the image
    v = batch_norm(dense(tokens, w, "value"), w, "value_norm")  # (B, HW, V)

    content = k.swapaxes(1, 2) @ v  # one matrix for all: (B, K, V)

    # A convolution, from 1 to K channels, of every channel of the values.
    maps = v.swapaxes(1, 2).reshape(-1, H, W, 1)  # (B V, H, W, 1)
    position = conv(maps, w, "position").reshape(B, -1, H * W, key_dim)
    position = position.transpose(0, 2, 3, 1)  # (B, HW, K, V)

    y = q @ (content[:, None] + position)  # (B, HW, heads, V)
    return y.reshape(B, H, W, C)
