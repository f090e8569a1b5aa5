"""Global filter (GFNet)."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.grids import resize_grid
from attn_core.ops.spectra import filter_spectrum


@keras.saving.register_keras_serializable(package="attn_core")
class GlobalFilter(ImageLayer):
    r"""Global filter: multiplies the spectrum of the image by learned complex numbers.

    That is a circular convolution of each channel with a kernel as large as the image. Half of the
    spectrum is enough, the image being real:

    $$y = \mathcal{F}^{-1}(K \cdot \mathcal{F}(x)) \qquad
    K \in \mathbb{C}^{H \times (\lfloor W/2 \rfloor + 1) \times C}$$

    with $\mathcal{F}$ the two-dimensional DFT over height and width, real along the width: its
    inverse divides by H W, and drops the imaginary parts that no real image has. K is kept as real
    numbers `(H, W // 2 + 1, C, 2)`, real and imaginary parts last, the frequencies in the order of
    the DFT (0 first); it starts normal, of standard deviation 0.02.

    Args:
        spatial_shape: (H, W) of the image; `None` = those of the first input.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are fixed once the layer is built.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If `spatial_shape` is neither `None` nor two positive integers, or the input is
            not an image of known size, of that size, and of a known number of channels.

    Example:
        >>> import numpy as np
        >>> GlobalFilter()(np.ones((2, 14, 9, 32))).shape
        (2, 14, 9, 32)

    Reference:
        Rao, Zhao, Zhu, Lu, Zhou, "Global Filter Networks for Image Classification", NeurIPS 2021,
        arXiv:2107.00645; numbers as raoyongming/GFNet `GlobalFilter`. Its norm="ortho" cancels
        between the two transforms.

    Differs from the paper:
        Not at all; nor does the layer of the PyTorch collection (its network does; the TensorFlow
        one holds a stub). The authors' class takes tokens `(B, H * W, C)` and returns float32;
        this one takes images and, while the transforms run in float32, returns the compute dtype.
    """

    def __init__(self, spatial_shape=None, **kwargs):
        super().__init__(**kwargs)
        if spatial_shape is not None:
            spatial_shape = self.sequence("spatial_shape", spatial_shape, self.integer, 2)
        self.spatial_shape = spatial_shape

    def build(self, input_shape):
        """Create the filter."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        if self.spatial_shape not in (None, (height, width)):
            raise self.error(
                f"height and width must be spatial_shape={self.spatial_shape}.",
                f"shape {tuple(input_shape)}",
            )
        self.size = (height, width)
        self.filter = self.add_weight(
            shape=(height, width // 2 + 1, channels, 2),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            autocast=False,  # the spectrum is computed in float32
            name="filter",
        )

    def call(self, x):
        """Filter `x`."""
        x = self.to_channels_last(x)
        x = ops.reshape(x, (-1, *self.size, x.shape[-1]))  # H and W known, in every graph
        return self.from_channels_last(filter_spectrum(x, self.filter, self.transform()))

    def transform(self):
        """Return how to filter, as in `filter_spectrum`; attn_tf's subclass has its own."""

    def resize_from(self, other: "GlobalFilter") -> None:
        """Take the filter of a layer built for another size, interpolated as the authors do."""
        height, columns = self.filter.shape[:2]
        spectrum = ops.convert_to_numpy(other.filter)
        self.filter.assign(resize_grid(spectrum, height, columns, align_corners=True))

    def torch_names(self) -> dict:
        """Name the parameters as raoyongming/GFNet does."""
        return {"complex_weight": self.filter}
