"""What the mechanisms in this folder share.

`w` holds the arrays of a layer by their names in the table of weights on its
page, and `name` is the first part of such a name. Images are (B, H, W, C),
tokens (B, N, C).
"""

import math

import numpy as np


def relu(z):
    return np.maximum(z, 0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def silu(z):
    return z * sigmoid(z)


def gelu(z):
    return z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2


def softmax(z, axis=-1):
    z = np.exp(z - z.max(axis, keepdims=True))  # the largest exponent is 0
    return z / z.sum(axis, keepdims=True)


def dense(x, w, name):
    """A linear map of the last axis, with a bias if the layer has one."""
    return x @ w[f"{name}/kernel"] + w.get(f"{name}/bias", 0)


def pad(x, rows, columns, mode="constant"):
    """Add rows above and below an image and columns on both sides, zeros."""
    others = [(0, 0)] * (x.ndim - 3)
    return np.pad(x, [(0, 0), (rows, rows), (columns, columns), *others], mode)


def conv(x, w, name, stride=1, dilation=1, groups=1):
    """A convolution that keeps the size of the image at stride 1.

    The kernel is (rows, columns, C / groups, outputs). With as many groups as
    channels, the convolution is depthwise.
    """
    kernel = w[f"{name}/kernel"]
    (H, W), (k, m) = x.shape[1:3], kernel.shape[:2]
    x = pad(x, dilation * (k // 2), dilation * (m // 2))
    y = []
    parts = zip(np.split(x, groups, -1), np.split(kernel, groups, -1))
    for part, weights in parts:
        total = 0
        for i in range(k):
            for j in range(m):
                top, left = dilation * i, dilation * j
                shifted = part[:, top : top + H, left : left + W]
                total = total + shifted @ weights[i, j]
        y.append(total)
    y = np.concatenate(y, -1)[:, ::stride, ::stride]
    return y + w.get(f"{name}/bias", 0)


def normalize(x, axis):
    """Give x the mean 0 and the variance 1 over some axes."""
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def layer_norm(x, w, name):
    """Normalize each vector of channels, then scale and shift it."""
    return normalize(x, -1) * w[f"{name}/gamma"] + w[f"{name}/beta"]


def batch_norm(x, w, name):
    """Normalize each channel by its moving statistics, as after training."""
    mean, variance = w[f"{name}/moving_mean"], w[f"{name}/moving_variance"]
    x = (x - mean) / np.sqrt(variance + 1e-5)
    return x * w[f"{name}/gamma"] + w[f"{name}/beta"]


def split_heads(x, heads):
    """(B, N, heads * d) -> (B, heads, N, d)."""
    B, N, C = x.shape
    return x.reshape(B, N, heads, C // heads).swapaxes(1, 2)


def merge_heads(x):
    """(B, heads, N, d) -> (B, N, heads * d)."""
    B, heads, N, d = x.shape
    return x.swapaxes(1, 2).reshape(B, N, heads * d)


def attention(q, k, v, bias=0):
    """Scaled dot-product attention: softmax(q k^T / sqrt(d) + bias) v."""
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    return softmax(scores + bias) @ v
