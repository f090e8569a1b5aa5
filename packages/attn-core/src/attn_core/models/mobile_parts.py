"""What MobileViT and MobileViTv2 share: inverted residuals, and the stages made of them."""

import keras

from attn_core.layers.blocks.mb_conv import multiple_of_8
from attn_core.layers.blocks.parts import ConvNorm
from attn_core.models.base import Block, drop_path_rates, stochastic_depth


@keras.saving.register_keras_serializable(package="attn_core")
class InvertedResidual(Block):
    """MobileNetV2's block: widen, convolve each channel, narrow; added to an input of like shape.

    Args:
        filters: Number of output channels.
        expansion: Ratio of the wide image's channels to the input's, rounded to a multiple of 8;
            1 does without the widening convolution.
        strides: 1, or 2 to halve height and width.
        drop_path: Rate of stochastic depth, where the input is added.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(
        self,
        filters: int,
        *,
        expansion: float = 4,
        strides: int = 1,
        drop_path: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.expansion = expansion
        self.strides = strides
        self.drop_path = drop_path

    def build(self, input_shape):
        """Create the three convolutions."""
        channels, policy = input_shape[-1], {"dtype": self.dtype_policy}
        self.adds = self.strides == 1 and channels == self.filters
        self.expand, hidden = None, channels
        if self.expansion != 1:
            hidden = multiple_of_8(round(channels * self.expansion))
            self.expand = ConvNorm(hidden, name="expand", **policy)
            self.expand.build(input_shape)
        self.depthwise = ConvNorm(
            hidden, 3, strides=self.strides, groups=hidden, name="depthwise", **policy
        )
        self.project = ConvNorm(self.filters, activation=None, name="project", **policy)
        for layer in (self.depthwise, self.project):
            layer.build((*input_shape[:-1], hidden))
        self.stochastic_depth = stochastic_depth(self.drop_path, dtype=self.dtype_policy)

    def call(self, x, training=None):
        """Convolve, and add the input if the shapes agree."""
        branch = x if self.expand is None else self.expand(x, training=training)
        branch = self.depthwise(branch, training=training)
        branch = self.project(branch, training=training)  # (B, H / strides, W / strides, filters)
        return x + self.stochastic_depth(branch, training=training) if self.adds else branch

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape after the strides, with `filters` channels."""
        batch, *sides, _ = input_shape
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return (batch, *sides, self.filters)

    def torch_names(self) -> dict:
        """Name the parameters as apple/ml-cvnets `InvertedResidual` does."""
        names = {"block.conv_3x3": self.depthwise, "block.red_1x1": self.project}
        return names if self.expand is None else {"block.exp_1x1": self.expand, **names}


def five_stages(
    images, blocks, *, filters, conv_depths, stem_width, expansion, drop_path, dtype
) -> tuple[list, dict]:
    """Connect the stem and the stages: two of inverted residuals, three with attention blocks.

    Args:
        images: The `keras.Input`.
        blocks: The attention block of each of the last three stages.
        filters: Number of channels of each of the five stages.
        conv_depths: Number of inverted residuals in the first two stages; the others have one.
        stem_width: Number of channels of the stem.
        expansion: Of the inverted residuals.
        drop_path: Rate of stochastic depth in the last inverted residual of the second stage,
            rising to it from 0: none of the later ones, which halve the image, adds its input.
        dtype: The dtype policy of the layers.

    Returns:
        The output of each stage, and all layers by the names of apple/ml-cvnets.
    """
    stem = ConvNorm(stem_width, 3, strides=2, name="stem", dtype=dtype)
    x, stages, names = stem(images), [], {"conv_1": stem}
    rates = [*drop_path_rates(drop_path, conv_depths), [0.0], [0.0], [0.0]]
    for stage, width in enumerate(filters):
        layers = [
            InvertedResidual(
                width,
                expansion=expansion,
                strides=1 if stage == 0 or i else 2,
                drop_path=rate,
                name=f"stage_{stage}_block_{i}",
                dtype=dtype,
            )
            for i, rate in enumerate(rates[stage])
        ]
        if stage >= 2:
            layers.append(blocks[stage - 2])
        for layer in layers:
            x = layer(x)
        stages.append(x)
        names[f"layer_{stage + 1}"] = layers
    return stages, names
