"""What the residual networks share: stem, bottleneck, and four stages of bottlenecks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

import keras
from keras import layers, ops

from attn_core import _checks as checks
from attn_core._ops.pooling import average_pool
from attn_core._ops.streams import stream
from attn_core._ops.windows import mean_pool
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, Split
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization
from attn_core.models._base import Graph, drop_path_rates
from attn_core.models._blocks import stochastic_depth


class Bottleneck(ImageLayer):
    """Base of the residual bottlenecks: 1x1 convolution, a mixer, 1x1 convolution, shortcut.

    A subclass defines with `build_mixer` and `mix` what happens between the two convolutions. It
    applies the strides. The shortcut is a 1x1 convolution if the shapes differ; otherwise it is the
    input itself.

    Args:
        filters: Width between the two convolutions; the output has `expansion` times as many
            channels.
        strides: 1, or 2 to halve height and width.
        drop_path: Rate of stochastic depth.
        **kwargs: `data_format` and Keras' own layer arguments.
    """

    split: ClassVar[dict[str, Split]] = {"shortcut": "whole"}

    pools_shortcut: ClassVar[bool] = False
    """Whether the shortcut averages 2 x 2 pixels instead of taking every second one."""

    expansion: int = 4
    """Width of the output as a multiple of `filters`."""

    def __init__(
        self,
        filters: int,
        *,
        strides: int = 1,
        drop_path: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters: int = checks.integer(self, "filters", filters)
        self.strides: int = checks.choice(self, "strides", strides, (1, 2))
        self.drop_path: float = drop_path

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions, their norms, the mixer and the shortcut."""
        _, _, channels = self.check_image(input_shape)
        narrow, wide = self.filters, self.expansion * self.filters
        self.narrow = dense(self, channels, narrow, "narrow", use_bias=False)
        self.narrow_norm = self.norm("narrow_norm", narrow)
        self.build_mixer((None, None, None, narrow))
        self.widen = dense(self, narrow, wide, "widen", use_bias=False)
        self.widen_norm = self.norm("widen_norm", wide)
        self.shortcut = None
        if self.strides > 1 or channels != wide:
            image, options = (None, None, None, channels), {"use_bias": False, "name": "shortcut"}
            strides = 1 if self.pools_shortcut else self.strides
            self.shortcut = child(self, Conv2D, wide, 1, shape=image, strides=strides, **options)
            self.shortcut_norm = self.norm("shortcut_norm", wide)
        self.stochastic_depth = stochastic_depth(self.drop_path, dtype=self.dtype_policy)

    def build_mixer(self, image: Shape) -> None:
        """Create the mixer for an image of the given shape, channels last."""
        raise NotImplementedError

    def norm(self, name: str, channels: int) -> BatchNormalization:
        """Return a new norm, as a part of this layer."""
        return child(self, BatchNormalization, shape=(None, None, None, channels), name=name)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the mixer between the two convolutions, and add the shortcut."""
        x = stream(self.to_channels_last(x))
        branch = ops.relu(self.narrow_norm(self.narrow(x), training=training))
        branch = self.mix(branch, training)
        branch = self.widen_norm(self.widen(branch), training=training)
        branch = self.finish(branch, training)
        if self.shortcut is not None:
            x = mean_pool(x, self.strides) if self.pools_shortcut and self.strides > 1 else x
            x = self.shortcut_norm(self.shortcut(x), training=training)
        branch = self.stochastic_depth(branch, training=training)
        return self.from_channels_last(ops.relu(branch + x))

    def mix(self, x: Tensor, training: bool | None) -> Tensor:
        """Return the output of the mixer for `x`, channels last."""
        raise NotImplementedError

    def finish(self, branch: Tensor, training: bool | None) -> Tensor:
        """Return what is added to the shortcut; a subclass can rescale the branch."""
        return branch

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after the strides, with `expansion * filters` channels."""
        batch, *sides, _ = self.channels_last_shape(input_shape)
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return self.from_channels_last_shape((batch, *sides, self.expansion * self.filters))

    def torch_names(self) -> TorchNames:
        """Name the parameters as torchvision does; a subclass adds those of the mixer."""
        names = {
            "conv1": self.narrow,
            "bn1": self.narrow_norm,
            "conv3": self.widen,
            "bn3": self.widen_norm,
        }
        if self.shortcut is not None:
            first = int(self.pools_shortcut)  # the pooling is a module too, without weights
            names |= {f"downsample.{first}": self.shortcut}
            names |= {f"downsample.{first + 1}": self.shortcut_norm}
        return names


def halve(x: Tensor) -> Tensor:
    """Average 3 x 3 pixels around every second one, as PyTorch does: with the padding's zeros."""
    return average_pool(x, 3, 2, 1)


def stem(net: Graph, convolutions: Mapping[str, int], norms: Sequence[str], size: int) -> Tensor:
    """Return images at a quarter of their size: convolutions with norm and relu, and a pooling.

    Args:
        net: The graph of the network.
        convolutions: Width of each convolution by its name in PyTorch; the first one has strides 2.
        norms: Names of their norms in PyTorch.
        size: Side of their kernels.
    """
    x = net.images
    for i, ((conv, width), norm) in enumerate(zip(convolutions.items(), norms, strict=True)):
        end = f"_{i}" if len(norms) > 1 else ""
        options = {"strides": 1 if i else 2, "use_bias": False, "name": f"stem_conv{end}"}
        x = net.add(Conv2D, width, size, torch=conv, **options)(x)
        x = net.add(BatchNormalization, name=f"stem_norm{end}", torch=norm)(x)
        x = net.add(layers.Activation, "relu", name=f"stem_relu{end}")(x)
    # After relu no value is below zero: padding by zeros equals PyTorch's by minus infinity.
    image = {"data_format": "channels_last"}
    x = net.add(layers.ZeroPadding2D, 1, name="stem_padding", **image)(x)
    return net.add(layers.MaxPooling2D, 3, 2, name="stem_pool", **image)(x)


def stages(
    net: Graph,
    x: Tensor,
    block: Callable[[int, int], tuple[Callable[..., keras.layers.Layer], Mapping[str, Any]]],
    *,
    filters: Sequence[int],
    depths: tuple[int, ...],
    drop_path: float,
    torch: str = "layer{number}.{block}",
    end: Callable[[int, Tensor], Tensor] = lambda stage, x: x,
) -> Tensor:
    """Connect stages of bottlenecks, of which each but the first halves the image.

    Args:
        net: The graph of the network.
        x: The output of the stem.
        block: From stage and block, counted from 0, to class and further arguments.
        filters: Width of the mixer of each stage.
        depths: Number of blocks of each stage.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        torch: The authors' name of a block, with the fields `stage`, `number` (from 1) and `block`.
        end: Given a stage and its output, returns what follows it, which is then its feature map.

    Returns:
        The output of the last stage.
    """
    for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
        for i, rate in enumerate(rates):
            theirs = torch.format(stage=stage, number=stage + 1, block=i)
            kind, options = block(stage, i)
            x = net.add(
                kind,
                filters[stage],
                strides=2 if stage > 0 and i == 0 else 1,
                drop_path=rate,
                data_format="channels_last",
                name=f"stage_{stage}_block_{i}",
                torch=theirs,
                **options,
            )(x)
        x = end(stage, x)
        net.stages.append(x)
    return x
