"""BAM, the bottleneck attention module."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.ops.precision import mean


@keras.saving.register_keras_serializable(package="attn_core")
class BAM(ImageLayer):
    r"""BAM: weighs every channel at every position, by a channel and a dilated spatial branch.

    The channel branch is a small network on the average over the image; the spatial branch narrows
    the channels, looks around by dilated 3x3 convolutions and ends in one score per position:

    $$y = x \cdot (1 + \sigma(c \cdot s)), \qquad
    c = \mathrm{MLP}(\mathrm{mean}_{hw}(x)), \quad
    s = W_1\, (D_2 * (D_1 * W_0\, x))$$

    with BatchNormalization and relu after every layer but the last of each branch.

    Args:
        reduction: Factor by which both branches are narrower than C; the width is
            `max(1, C // reduction)`.
        dilation: Dilation of the 3x3 convolutions.
        channel_layers: Number of hidden layers of the channel branch.
        spatial_layers: Number of dilated convolutions of the spatial branch.
        combine: "multiply", the authors' code: sigmoid of c * s; "add", the paper: of c + s.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the statistics of the batch.
        return_attention_scores: Whether to return the gate too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the gate, between 1 and
        2, of the input's shape.

    Raises:
        ValueError: If an argument is not as described, or the input is not an image of a known
            number of channels.

    Example:
        >>> import numpy as np
        >>> tuple(BAM(reduction=4)(np.ones((2, 7, 7, 32))).shape)
        (2, 7, 7, 32)

    Reference:
        Park, Woo, Lee, Kweon, "BAM: Bottleneck Attention Module", BMVC 2018, arXiv:1807.06514;
        numbers as Jongchan/attention-module `BAM`.

    Differs from the paper:
        The authors' code multiplies the branches, where equation 2 adds them (`combine="add"`), and
        normalises after every layer but the last, where equations 3 and 4 normalise once, at the
        end. The average is over the whole image also where it is not square: the authors pool a
        window of H x H. The External-Attention collections add the branches, have three hidden
        layers in each and dilate by 2; the PyTorch one also pads too little.
    """

    def __init__(
        self,
        reduction: int = 16,
        *,
        dilation: int = 4,
        channel_layers: int = 1,
        spatial_layers: int = 2,
        combine: str = "multiply",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.reduction = self.integer("reduction", reduction)
        self.dilation = self.integer("dilation", dilation)
        self.channel_layers = self.integer("channel_layers", channel_layers, 0)
        self.spatial_layers = self.integer("spatial_layers", spatial_layers, 0)
        self.combine = self.choice("combine", combine, ("multiply", "add"))

    def build(self, input_shape):
        """Create the layers of the two branches, and a norm for each but the last."""
        _, _, channels = self.check_image(input_shape)
        width = max(1, channels // self.reduction)
        dense, dtype = keras.layers.Dense, self.dtype_policy
        self.channel = [
            dense(width, name=f"channel_{index}", dtype=dtype)
            for index in range(self.channel_layers)
        ]
        self.channel_last = dense(channels, name="channel_last", dtype=dtype)
        self.spatial = [dense(width, name="spatial_reduce", dtype=dtype)] + [
            Conv2D(width, 3, dilation_rate=self.dilation, name=f"spatial_{index}", dtype=dtype)
            for index in range(self.spatial_layers)
        ]
        self.spatial_last = dense(1, name="spatial_last", dtype=dtype)
        self.channel_norms = self._build([*self.channel, self.channel_last], channels, width)
        self.spatial_norms = self._build([*self.spatial, self.spatial_last], channels, width)

    def _build(self, layers, channels, width) -> list:
        """Build a branch, and return the norms of all its layers but the last."""
        for layer, inputs in zip(layers, [channels] + [width] * (len(layers) - 1), strict=True):
            layer.build((None, None, None, inputs))
        norms = [
            BatchNormalization(name=f"{layer.name}_norm", dtype=self.dtype_policy)
            for layer in layers[:-1]
        ]
        for norm in norms:
            norm.build((None, None, None, width))
        return norms

    def call(self, x, training=None, return_attention_scores=False):
        """Weigh every channel at every position of `x`."""
        x = self.to_channels_last(x)
        channel = mean(x, axis=(1, 2), keepdims=True)  # (B, 1, 1, C)
        for layer, norm in zip(self.channel, self.channel_norms, strict=True):
            channel = ops.relu(norm(layer(channel), training=training))
        channel = self.channel_last(channel)  # (B, 1, 1, C)
        spatial = x
        for layer, norm in zip(self.spatial, self.spatial_norms, strict=True):
            spatial = ops.relu(norm(layer(spatial), training=training))
        spatial = self.spatial_last(spatial)  # (B, H, W, 1)
        scores = channel * spatial if self.combine == "multiply" else channel + spatial
        gate = 1 + ops.sigmoid(scores)  # (B, H, W, C)
        output = self.from_channels_last(x * gate)
        return self.result(output, self.from_channels_last(gate), return_attention_scores)

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the gate: the input's."""
        return tuple(input_shape)

    def torch_names(self) -> dict:
        """Name the parameters as Jongchan/attention-module does."""
        channel, spatial = "channel_att.gate_c.gate_c_", "spatial_att.gate_s.gate_s_"
        names = {f"{channel}fc_final": self.channel_last, f"{spatial}conv_final": self.spatial_last}
        for index, (layer, norm) in enumerate(zip(self.channel, self.channel_norms, strict=True)):
            names |= {f"{channel}fc_{index}": layer, f"{channel}bn_{index + 1}": norm}
        for index, (layer, norm) in enumerate(zip(self.spatial, self.spatial_norms, strict=True)):
            place = f"di_{index - 1}" if index else "reduce0"
            names |= {f"{spatial}conv_{place}": layer, f"{spatial}bn_{place}": norm}
        return names
