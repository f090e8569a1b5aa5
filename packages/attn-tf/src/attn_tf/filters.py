"""The global filter on TensorFlow's two-dimensional FFTs."""

from collections.abc import Callable
from typing import Unpack

import attn_core
import keras
import numpy as np
import tensorflow as tf
from attn_core import _checks as checks
from attn_core._ops.lowering import exact_products
from attn_core._ops.spectra import by_matrices
from attn_core._typing import ImageArguments, Tensor

LARGEST_SIDE = 7
"""The longest side of an image that matrix products filter faster than FFTs, on CPUs.

`nox -s bench-tf` measures it; docs/tensorflow.md has the table.
"""


@keras.saving.register_keras_serializable(package="attn_tf")
class GlobalFilter(attn_core.GlobalFilter):
    """The global filter of attn_core, by `tf.signal.rfft2d` and `irfft2d`.

    The weights are the same, and the outputs agree up to rounding; only the transform differs.

    Args:
        spatial_shape: (H, W) of the image; `None` = the size of the first input.
        method: "fft", "matrix" (matrix products, which LiteRT can run), or `None` for the one that
            was measured to be faster on such a device at this size.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are fixed once the layer is built.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If `method` is not as described, or for the reasons that
            `attn_core.GlobalFilter` names.

    Example:
        >>> import numpy as np
        >>> tuple(GlobalFilter(method="fft")(np.ones((2, 14, 9, 32))).shape)
        (2, 14, 9, 32)

    Reference:
        Rao, Zhao, Zhu, Lu, Zhou, "Global Filter Networks for Image Classification", NeurIPS 2021,
        arXiv:2107.00645. The outputs are the same as those of raoyongming/GFNet `GlobalFilter`.
    """

    def __init__(
        self,
        spatial_shape: tuple[int, int] | None = None,
        *,
        method: str | None = None,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(spatial_shape, **kwargs)
        self.method = checks.choice(self, "method", method, (None, "fft", "matrix"))

    def transform(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Return how to filter, as in `filter_spectrum`."""
        small = max(self.size) <= LARGEST_SIDE and exact_products()
        method = self.method or ("matrix" if small else "fft")
        return by_fft if method == "fft" else by_matrices


def by_fft(x: Tensor, spectrum: Tensor) -> Tensor:
    """Return irfft2(rfft2(x) * spectrum) of `(B, H, W, C)`; float32 or float64."""
    size = x.shape[1:3]
    spectrum = tf.complex(spectrum[..., 0], spectrum[..., 1])
    if not exact_products():  # on GPUs
        spectrum = hermitian(spectrum, size[1])
    frequencies = tf.signal.rfft2d(tf.transpose(x, (0, 3, 1, 2)))  # (B, C, H, W // 2 + 1)
    frequencies *= tf.transpose(spectrum, (2, 0, 1))
    x = tf.signal.irfft2d(frequencies, fft_length=size)
    return tf.transpose(x, (0, 2, 3, 1))


def hermitian(spectrum: Tensor, width: int) -> Tensor:
    """Return the part of a filter, `(H, W // 2 + 1, C)`, that real images can show.

    In the columns that are their own mirror image the other part makes imaginary numbers. CPUs drop
    them in the inverse; cuFFT promises nothing about such input.
    """
    frequencies = np.arange(width // 2 + 1)[:, None]
    mirror = tf.math.conj(tf.roll(tf.reverse(spectrum, [0]), 1, 0))
    return tf.where(2 * frequencies % width == 0, (spectrum + mirror) / 2, spectrum)
