"""Double attention."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.precision import softmax


@keras.saving.register_keras_serializable(package="attn_core")
class DoubleAttention(ImageLayer):
    r"""Double attention: gathers the image into a few features and hands them out again.

    The first attention pools the positions into `num_maps` global features, the second gives
    every position its own mixture of them; both cost N, not N^2:

    $$Z = \mathrm{softmax}_m(V)\,G, \quad G = \mathrm{softmax}_n(B)^\top A, \quad
    y = Z W_r + b_r$$

    with A, B and V linear in the N = HW positions n, and the maps m.

    Args:
        feature_dim: Width of the features A; `None` = C / 4.
        num_maps: Number of the maps B and V; `None` = C / 4.
        reconstruct: Whether a linear map brings the features back to C channels.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the two attention maps too.

    Returns:
        Image of the input's height and width and C channels, or `feature_dim` with
        `reconstruct=False`; with `return_attention_scores=True` also the maps that gather,
        `(B, 1, num_maps, H * W)`, and that hand out, `(B, 1, H * W, num_maps)`, as a tuple.

    Raises:
        ValueError: If an argument is out of range, the input is not an image of a known number of
            channels, or that number is needed but no multiple of 4.

    Example:
        >>> import numpy as np
        >>> DoubleAttention(num_maps=4)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        Chen, Kalantidis, Li, Yan, Feng, "A^2-Nets: Double Attention Networks", NeurIPS 2018,
        arXiv:1810.11579; numbers as its equations 2 to 4, parameters named as in
        xmu-xiaoma666/External-Attention-pytorch `DoubleAttention`.

    Differs from the paper:
        In nothing. Of the old collections, that in PyTorch takes both softmaxes over the batch,
        that in TensorFlow takes the first over the maps and mixes positions with channels.
    """

    def __init__(
        self,
        feature_dim: int | None = None,
        num_maps: int | None = None,
        *,
        reconstruct: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        given = feature_dim is not None
        self.feature_dim = self.integer("feature_dim", feature_dim) if given else None
        self.num_maps = None if num_maps is None else self.integer("num_maps", num_maps)
        self.reconstruct = self.flag("reconstruct", reconstruct)

    def width(self, name: str, channels: int) -> int:
        """Return the argument `name`, or its default for so many channels."""
        value = getattr(self, name)
        if value is None and channels % 4:
            raise self.error(
                f"`{name}` must be given where the number of channels is no multiple of 4.",
                f"{name}=None, {channels} channels",
            )
        return channels // 4 if value is None else value

    def build(self, input_shape):
        """Create the linear maps."""
        _, _, channels = self.check_image(input_shape)
        width, maps = self.width("feature_dim", channels), self.width("num_maps", channels)
        self.feature = keras.layers.Dense(width, dtype=self.dtype_policy, name="feature")
        self.gather = keras.layers.Dense(maps, dtype=self.dtype_policy, name="gather")
        self.distribute = keras.layers.Dense(maps, dtype=self.dtype_policy, name="distribute")
        for layer in (self.feature, self.gather, self.distribute):
            layer.build((None, None, channels))
        if self.reconstruct:
            self.project = keras.layers.Dense(channels, dtype=self.dtype_policy, name="project")
            self.project.build((None, None, width))

    def call(self, x, return_attention_scores=False):
        """Gather features over `x` and hand them out."""
        x = self.to_channels_last(x)
        height, width, channels = *ops.shape(x)[1:3], x.shape[-1]
        x = ops.reshape(x, (-1, height * width, channels))  # (B, N, C)

        gather = softmax(ops.transpose(self.gather(x), (0, 2, 1)))  # (B, maps, N), over N
        distribute = softmax(self.distribute(x))  # (B, N, maps), over the maps
        features = ops.matmul(gather, self.feature(x))  # (B, maps, feature_dim)
        output = ops.matmul(distribute, features)  # (B, N, feature_dim)
        if self.reconstruct:
            output = self.project(output)  # (B, N, C)
        output = ops.reshape(output, (-1, height, width, output.shape[-1]))
        attention = ops.expand_dims(gather, 1), ops.expand_dims(distribute, 1)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the output's shape."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        if not self.reconstruct:
            channels = self.width("feature_dim", channels)
        return self.own_shape((batch, height, width, channels))

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shapes of the two attention maps."""
        batch, height, width, channels = self.channels_last_shape(input_shape)
        positions = None if None in (height, width) else height * width
        maps = self.width("num_maps", channels)
        return (batch, 1, maps, positions), (batch, 1, positions, maps)

    def torch_names(self) -> dict:
        """Name the parameters as xmu-xiaoma666/External-Attention-pytorch does."""
        names = {"convA": self.feature, "convB": self.gather, "convV": self.distribute}
        return names | ({"conv_reconstruct": self.project} if self.reconstruct else {})
