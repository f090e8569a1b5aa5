"""A filter in the frequency domain: matrix products for small images, FFTs for larger ones.

Measured on CPU cores, 8 images, in ms of one core for output / output and gradients:

    image         backend       matrices    FFT
    7x7x512       PyTorch        2.5 / 5    4.7 / 12
                  TensorFlow     2.7 / 9    4.9 / 12
                  JAX            1.6 / 4    2.4 / 5
    14x14x384     PyTorch        6.8 / 16   9.7 / 27
                  TensorFlow     5.6 / 23   9.8 / 23
                  JAX            4.8 / 24   5.7 / 24
    28x28x128     PyTorch         10 / 27    14 / 37
                  TensorFlow     8.1 / 33    11 / 29
                  JAX            9.5 / 37   9.3 / 34
    56x56x64      PyTorch         24 / 56    23 / 68
                  TensorFlow      18 / 69    23 / 62
                  JAX             27 / 93    20 / 68

The matrices are cubic in the side of the image; they need no complex numbers and no transposes.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from keras import backend, ops

from attn_core._ops.lowering import exact_products
from attn_core._ops.precision import upcast
from attn_core._typing import Tensor

LARGEST_SIDE = 32
"""The longest side of an image that is filtered by matrix products."""


def filter_spectrum(
    x: Tensor, spectrum: Tensor, transform: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Tensor:
    """Multiply the spectrum of each channel: irfft2(rfft2(x) * spectrum), in float32 or float64.

    As in PyTorch, the inverse ignores parts that no real image can have in its spectrum: after the
    inverse DFT over H, the imaginary parts of the first column and, if W is even, of the last.

    Args:
        x: Image, `(B, H, W, C)`, of known height and width.
        spectrum: `(H, W // 2 + 1, C, 2)`, real and imaginary parts.
        transform: `by_matrices`, `by_fft` or a function like them; `None` = the faster of the two.

    Returns:
        Image of the shape and dtype of `x`.
    """
    dtype, x = x.dtype, upcast(x)
    spectrum = ops.cast(spectrum, x.dtype)
    if transform is None:
        small = max(x.shape[1], x.shape[2]) <= LARGEST_SIDE and exact_products()
        # On PyTorch, Keras' matmul computes float64 in float32.
        double = backend.standardize_dtype(dtype) == "float64"
        transform = by_matrices if small and not double else by_fft
    return ops.cast(transform(x, spectrum), dtype)


def _multiply(real: Tensor, imaginary: Tensor, spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Return both parts of a complex product; `spectrum` holds its parts on the last axis."""
    a, b = spectrum[..., 0], spectrum[..., 1]
    return real * a - imaginary * b, real * b + imaginary * a


def by_fft(x: Tensor, spectrum: Tensor) -> Tensor:
    """Filter by FFTs; float32 or float64."""
    height, width = map(int, x.shape[1:3])
    real, imaginary = ops.rfft(ops.transpose(x, (0, 3, 1, 2)))  # (B, C, H, W // 2 + 1)
    real, imaginary = ops.fft((_turn(real), _turn(imaginary)))  # (B, C, W // 2 + 1, H)
    # 1 / H belongs to the inverse below, which is the conjugate of the DFT of the conjugate.
    spectrum = ops.transpose(spectrum / height, (2, 1, 0, 3))  # (C, W // 2 + 1, H, 2)
    real, imaginary = _multiply(real, imaginary, spectrum)
    real, imaginary = ops.fft((real, -imaginary))
    x = ops.irfft((_turn(real), _turn(-imaginary)), fft_length=width)  # (B, C, H, W)
    return ops.transpose(x, (0, 2, 3, 1))


def _turn(x: Tensor) -> Tensor:
    return ops.transpose(x, (0, 1, 3, 2))


def by_matrices(x: Tensor, spectrum: Tensor) -> Tensor:
    """Return irfft2(rfft2(x) * spectrum) by products with the matrices of the transforms."""
    height, width, channels = map(int, x.shape[1:])  # PyTorch's tracer gives tensors, not numbers
    columns = width // 2 + 1
    rows_dft, columns_dft, rows_inverse, columns_inverse = (
        ops.convert_to_tensor(matrix, dtype=x.dtype) for matrix in _matrices(height, width)
    )
    x = ops.matmul(columns_dft, x)  # (B, H, 2 * columns, C)
    x = ops.matmul(rows_dft, ops.reshape(x, (-1, height * 2, columns * channels)))
    x = ops.reshape(x, (-1, height, 2, columns, channels))
    x = ops.stack(_multiply(x[:, :, 0], x[:, :, 1], spectrum), axis=2)
    x = ops.matmul(rows_inverse, ops.reshape(x, (-1, height * 2, columns * channels)))
    return ops.matmul(columns_inverse, ops.reshape(x, (-1, height, 2 * columns, channels)))


@cache
def _matrices(height: int, width: int) -> tuple[np.ndarray, ...]:
    """Return the DFT of the rows' axis, that of the columns' axis, and both inverses.

    The first acts on (row, part) pairs, 2 H of them; the second takes W real numbers to the parts,
    real ones first, of W // 2 + 1 complex ones.
    """
    wave = _waves(np.arange(height), height)
    rows = np.stack([wave.real, -wave.imag, wave.imag, wave.real])
    rows = rows.reshape(2, 2, height, height).transpose(2, 0, 3, 1)
    rows = rows.reshape(2 * height, 2 * height)  # (row, part) from (row, part)

    frequencies = np.arange(width // 2 + 1)
    wave = _waves(frequencies, width)
    own_mirror = 2 * frequencies % width == 0
    wave.imag[own_mirror] = 0.0  # exactly: their imaginary parts must not count
    columns = np.concatenate([wave.real, wave.imag])
    times = np.tile(np.where(own_mirror, 1, 2), 2)  # the other frequencies have a mirror image
    return rows, columns, rows.T / height, columns.T * times / width


def _waves(frequencies: np.ndarray, length: int) -> np.ndarray:
    turns = np.outer(frequencies, np.arange(length)) % length / length
    return np.exp(-2j * np.pi * turns)
