"""What MobileViT and MobileViTv2 share: inverted residuals and the stages that use them."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from attn_core._ops.streams import stream
from attn_core._typing import LayerArguments, Shape, Tensor
from attn_core._weights.entries import Schemes
from attn_core.layers._children import child
from attn_core.layers._widths import multiple_of_8
from attn_core.layers.blocks._parts import ConvNorm
from attn_core.models._base import Graph, drop_path_rates
from attn_core.models._blocks import Block, stochastic_depth


@keras.saving.register_keras_serializable(package="attn_core")
class InvertedResidual(Block):
    """MobileNetV2's block: 1x1, depthwise and 1x1 convolution; a residual if the shapes agree.

    Args:
        filters: Number of output channels.
        expansion: Hidden width as a multiple of the input channels, rounded to a multiple of 8;
            with 1 there is no first 1x1 convolution.
        strides: 1, or 2 to halve height and width.
        drop_path: Rate of stochastic depth; it acts only if the input is added.
        **kwargs: Keras' own layer arguments.
    """

    split = {"project": "inputs"}

    def __init__(
        self,
        filters: int,
        *,
        expansion: float = 4,
        strides: int = 1,
        drop_path: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.expansion = expansion
        self.strides = strides
        self.drop_path = drop_path

    def build(self, input_shape: Shape) -> None:
        """Create the three convolutions."""
        channels = input_shape[-1]
        self.adds = self.strides == 1 and channels == self.filters
        self.expand, hidden = None, channels
        if self.expansion != 1:
            hidden = multiple_of_8(round(channels * self.expansion))
            self.expand = child(self, ConvNorm, hidden, shape=input_shape, name="expand")
        inner = (*input_shape[:-1], hidden)
        options = {"strides": self.strides, "groups": hidden, "name": "depthwise"}
        self.depthwise = child(self, ConvNorm, hidden, 3, shape=inner, **options)
        options = {"activation": None, "name": "project"}
        self.project = child(self, ConvNorm, self.filters, shape=inner, **options)
        self.stochastic_depth = stochastic_depth(self.drop_path, dtype=self.dtype_policy)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Convolve, and add the input if the shapes agree."""
        x = stream(x) if self.adds else x
        branch = x if self.expand is None else self.expand(x, training=training)
        branch = self.depthwise(branch, training=training)
        branch = self.project(branch, training=training)  # (B, H / strides, W / strides, filters)
        return x + self.stochastic_depth(branch, training=training) if self.adds else branch

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after the strides, with `filters` channels."""
        batch, *sides, _ = input_shape
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return (batch, *sides, self.filters)

    def torch_names(self) -> Schemes:
        """Name the parameters as apple/ml-cvnets `InvertedResidual` does, or as timm does."""
        authors = {"block.conv_3x3": self.depthwise, "block.red_1x1": self.project}
        timm = {"conv2_kxk": self.depthwise, "conv3_1x1": self.project}
        if self.expand is not None:
            authors = {"block.exp_1x1": self.expand, **authors}
            timm = {"conv1_1x1": self.expand, **timm}
        return Schemes(authors=authors, timm=timm)


def stem_and_stages(
    net: Graph,
    attentions: Sequence[tuple[Any, ...]],
    *,
    filters: Sequence[int],
    conv_depths: tuple[int, ...],
    stem_width: int,
    expansion: float,
    drop_path: float,
) -> Tensor:
    """Connect the stem, two stages of inverted residuals and three with attention blocks.

    The names are those of apple/ml-cvnets, and those of timm.

    Args:
        net: The graph of the network.
        attentions: Class, width and further arguments of the attention block of each of the last
            three stages.
        filters: Number of channels of each of the five stages.
        conv_depths: Number of inverted residuals in the first two stages; the others have one.
        stem_width: Number of channels of the stem.
        expansion: As for `InvertedResidual`.
        drop_path: Rate of stochastic depth in the last inverted residual of the second stage,
            rising to it from 0; the later ones halve the image and do not add their input.

    Returns:
        The output of the last stage.
    """
    x = net.add(ConvNorm, stem_width, 3, strides=2, name="stem", torch="conv_1", timm="stem")(
        net.images
    )
    rates = [*drop_path_rates(drop_path, conv_depths), [0.0], [0.0], [0.0]]
    for stage, width in enumerate(filters):
        ours, authors, timm = f"stage_{stage}", f"layer_{stage + 1}", f"stages.{stage}"
        for i, rate in enumerate(rates[stage]):
            names = {"name": f"{ours}_block_{i}", "torch": f"{authors}.{i}", "timm": f"{timm}.{i}"}
            block = {"expansion": expansion, "strides": 1 if stage == 0 or i else 2}
            x = net.add(InvertedResidual, width, drop_path=rate, **names, **block)(x)
        if stage >= 2:
            kind, width, options = attentions[stage - 2]
            names = {"name": f"{ours}_attention", "torch": f"{authors}.1", "timm": f"{timm}.1"}
            x = net.add(kind, width, data_format="channels_last", **names, **options)(x)
        net.stages.append(x)
    return x
