"""Global filter (GFNet)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.grids import resize_grid
from attn_core._ops.spectra import filter_spectrum
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer


@keras.saving.register_keras_serializable(package="attn_core")
class GlobalFilter(ImageLayer):
    r"""Global filter: multiplies the spectrum of the image by a learned complex filter.

    This is a circular convolution of each channel with a kernel as large as the image. Half of the
    spectrum is enough because the image is real:

    $$y = \mathcal{F}^{-1}(K \cdot \mathcal{F}(x)) \qquad
    K \in \mathbb{C}^{H \times (\lfloor W/2 \rfloor + 1) \times C}$$

    where $\mathcal{F}$ is the two-dimensional DFT over height and width (over the width, the DFT of
    real numbers). Its inverse divides by H W and ignores imaginary parts that the spectrum of a
    real image cannot have. K is stored as real numbers `(H, W // 2 + 1, C, 2)`: real and imaginary
    parts on the last axis, the frequencies in the order of the DFT (0 first). It is initialised
    from a normal distribution of standard deviation 0.02.

    Args:
        spatial_shape: (H, W) of the image; `None` = the size of the first input.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are fixed once the layer is built.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If `spatial_shape` is neither `None` nor two positive integers, or the input is
            not an image of known size (`spatial_shape`, if given) and number of channels.

    Example:
        >>> import numpy as np
        >>> GlobalFilter()(np.ones((2, 14, 9, 32))).shape
        (2, 14, 9, 32)

    Reference:
        arXiv:2107.00645. The outputs are the same as those of raoyongming/GFNet `GlobalFilter`. Its
        norm="ortho" cancels between the two transforms.

    Differs from the paper:
        The outputs do not differ. The layer of the External-Attention collection in PyTorch agrees
        too, but its network does not; the class of the collection in TensorFlow is empty. The
        authors' class takes tokens `(B, H * W, C)` and returns float32; this one takes images and
        returns the compute dtype, although its transforms run in float32.
    """

    def __init__(
        self, spatial_shape: Sequence[int] | None = None, **kwargs: Unpack[ImageArguments]
    ) -> None:
        super().__init__(**kwargs)
        two_integers = partial(checks.sequence, check=checks.integer, length=2)
        self.spatial_shape: tuple[int, ...] | None = checks.optional(
            two_integers, self, "spatial_shape", spatial_shape
        )

    def build(self, input_shape: Shape) -> None:
        """Create the filter."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        if self.spatial_shape not in (None, (height, width)):
            raise checks.error(
                self,
                f"height and width must be spatial_shape={self.spatial_shape}.",
                f"shape {tuple(input_shape)}",
            )
        self.size: tuple[int, int] = (height, width)
        self.filter: keras.Variable = self.add_weight(
            shape=(height, width // 2 + 1, channels, 2),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            autocast=False,  # the spectrum is computed in float32
            name="filter",
        )

    def call(self, x: Tensor) -> Tensor:
        """Filter `x`."""
        x = self.to_channels_last(x)
        x = ops.reshape(x, (-1, *self.size, x.shape[-1]))  # H and W known, in every graph
        return self.from_channels_last(filter_spectrum(x, self.filter, self.transform()))

    def transform(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return the `transform` of `filter_spectrum`; the subclass in attn_tf has its own."""
        return None

    def resize_from(self, other: "GlobalFilter") -> None:
        """Copy the filter of a layer built for another size, interpolated as the authors do."""
        height, columns = self.filter.shape[:2]
        spectrum = ops.convert_to_numpy(other.filter)
        self.filter.assign(resize_grid(spectrum, height, columns, align_corners=True))

    def torch_names(self) -> TorchNames:
        """Name the parameters as raoyongming/GFNet does."""
        return {"complex_weight": self.filter}
