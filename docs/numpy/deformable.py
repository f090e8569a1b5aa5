import numpy as np

from numpy_layers import (
    attention,
    conv,
    dense,
    gelu,
    layer_norm,
    merge_heads,
    split_heads,
)


def sample(images, rows, columns):
    """Interpolate (B, H, W, C) at places (B, ...) in pixels: (B, ..., C)."""
    B, H, W, C = images.shape
    # A place has a part in the two rows, and the two columns, around it.
    a = np.maximum(1 - abs(rows[..., None] - np.arange(H)), 0)
    b = np.maximum(1 - abs(columns[..., None] - np.arange(W)), 0)
    parts = (a[..., :, None] * b[..., None, :]).reshape(B, -1, H * W)
    return (parts @ images.reshape(B, H * W, C)).reshape(*rows.shape, C)


def deformable(x, w, num_heads=8, groups=4, strides=2):
    """Deformable attention (DAT++): (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    row, column = np.divmod(np.arange(H * W), W)
    query = dense(x, w, "query")
    points, biases = [], []
    parts = [np.split(t, groups, -1) for t in (x, query)]
    for image, q, table in zip(*parts, np.split(w["table"], groups)):
        # Move a coarse grid, where -1 and 1 are the borders of the image.
        z = conv(q, w, "near", stride=strides, groups=C // groups)
        z = dense(gelu(layer_norm(z, w, "norm")), w, "offset")  # (B, h, v, 2)
        h, v = z.shape[1:3]
        still = np.indices((h, v)).transpose(1, 2, 0)  # (h, v, 2)
        still = (still + 0.5) / [h - 1, v - 1] * 2 - 1
        moved = np.clip(still + z, -1, 1).reshape(B, 1, h * v, 2)
        moved = (moved + 1) / 2 * [H - 1, W - 1]  # in pixels
        rows, columns = moved[..., 0], moved[..., 1]  # (B, 1, points)

        # The image at the points, and the biases of positions and points.
        points.append(sample(image, rows, columns)[:, 0])
        dy = row[:, None] - rows + H - 1  # (B, HW, points)
        dx = column[:, None] - columns + W - 1
        tables = np.repeat(table.transpose(1, 2, 0)[None], B, 0)
        biases.append(sample(tables, dy, dx))  # (B, HW, points, heads)

    points = np.concatenate(points, -1)  # (B, points, C)
    q = split_heads(query.reshape(B, H * W, C), num_heads)
    k = split_heads(dense(points, w, "key"), num_heads)
    v = split_heads(dense(points, w, "value"), num_heads)
    bias = np.concatenate(biases, -1).transpose(0, 3, 1, 2)
    y = merge_heads(attention(q, k, v, bias))
    return dense(y, w, "project").reshape(B, H, W, C)
