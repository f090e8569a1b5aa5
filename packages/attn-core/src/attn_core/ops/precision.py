"""Reductions and exponentials in float32 where the inputs are of half precision.

Each takes a tensor of any float type and returns its result in that type (`upcast` apart).
"""

from keras import backend, ops


def upcast(x):
    """Cast half-precision tensors to float32; float32 and float64 stay as they are."""
    half = backend.standardize_dtype(x.dtype) in ("float16", "bfloat16")
    return ops.cast(x, "float32") if half else x


def mean(x, axis, keepdims=False):
    """Mean over `axis`."""
    return ops.cast(ops.mean(upcast(x), axis=axis, keepdims=keepdims), x.dtype)


def softmax(x, axis=-1):
    """Softmax over `axis`, an integer or a tuple."""
    return ops.cast(ops.softmax(upcast(x), axis=axis), x.dtype)
