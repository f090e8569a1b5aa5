"""Images cut into patches and put together again, and the bilinear resizing that makes them fit."""

from keras import backend, ops


def round_up(size, patch_size: tuple[int, int]):
    """Round (height, width), numbers or scalar tensors, up to multiples of the patch size."""
    return tuple(-(-old // patch) * patch for old, patch in zip(size, patch_size, strict=True))


def unfold(x, patch_size: tuple[int, int]):
    """Cut `(B, H, W, C)` into patches: `(B, P, N, C)`, pixels of a patch by patches of the image.

    H and W must be multiples of the patch size.
    """
    (height, width), (ph, pw) = ops.shape(x)[1:3], patch_size
    rows, columns = height // ph, width // pw
    x = ops.reshape(x, (-1, rows, ph, columns, pw, x.shape[-1]))
    x = ops.transpose(x, (0, 2, 4, 1, 3, 5))  # (B, ph, pw, rows, columns, C)
    return ops.reshape(x, (-1, ph * pw, rows * columns, x.shape[-1]))


def fold(x, size, patch_size: tuple[int, int]):
    """Put the patches of an image of `size` together again: the inverse of `unfold`.

    Takes `(B, P, N, C)`, and also `(B * P, N, C)`.
    """
    (height, width), (ph, pw) = size, patch_size
    x = ops.reshape(x, (-1, ph, pw, height // ph, width // pw, x.shape[-1]))
    x = ops.transpose(x, (0, 3, 1, 4, 2, 5))  # (B, rows, ph, columns, pw, C)
    return ops.reshape(x, (-1, height, width, x.shape[-1]))


def resize(x, size, align_corners: bool = False):
    """Resize `(B, H, W, C)` bilinearly to `size`, as PyTorch's `interpolate` does.

    Positions are fractions of integers, so that an axis that keeps its length keeps its numbers,
    and constants stay constants.

    Args:
        x: The image.
        size: New height and width, numbers or scalar tensors.
        align_corners: Whether the centres of the outermost pixels stay where they are, rather than
            the outer edges of the image ("half-pixel centres").
    """
    for axis, new in zip((1, 2), size, strict=True):
        old = ops.shape(x)[axis]
        if not (isinstance(old, int) and isinstance(new, int) and old == new):
            x = _resize_axis(x, axis, old, new, align_corners)
    return x


def _resize_axis(x, axis, old, new, align_corners):
    index = ops.arange(0, new, dtype="int32")
    if align_corners:
        position, unit = index * (old - 1), ops.cast(ops.maximum(new - 1, 1), "int32")
    else:
        position, unit = (2 * index + 1) * old - new, 2 * new
        position = ops.minimum(ops.maximum(position, 0), unit * (old - 1))
    low = position // unit
    high = ops.minimum(low + 1, old - 1)
    real = "float64" if backend.standardize_dtype(x.dtype) == "float64" else "float32"
    weight = ops.cast(position % unit, real) / ops.cast(unit, real)
    weight = ops.reshape(ops.cast(weight, x.dtype), (-1, *[1] * (3 - axis)))
    lower = ops.take(x, low, axis=axis)
    return lower + (ops.take(x, high, axis=axis) - lower) * weight
