"""ParNet: a shallow network of parallel streams that can be fused into plain convolutions."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.pooling import average_pool
from attn_core._ops.precision import mean
from attn_core._typing import (
    ImageArguments,
    KerasArguments,
    LayerArguments,
    Shape,
    Tensor,
    TorchNames,
)
from attn_core._weights.plain import check_plain
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization
from attn_core.layers.branches._parnet import FusedParNetAttention, ParNetAttention, fold_norm
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import Block, stochastic_depth
from attn_core.models._preprocess import Preprocess


def interleave(images: Sequence[Tensor]) -> Tensor:
    """Interleave the channels of images of one shape: first the first channel of each image, ..."""
    x = ops.stack(images, axis=-1)
    return ops.reshape(x, (*ops.shape(x)[:3], x.shape[-2] * x.shape[-1]))


@keras.saving.register_keras_serializable(package="attn_core")
class ParNetBlock(ParNetAttention):
    """`ParNetAttention` with stochastic depth.

    Args:
        activation: As for `ParNetAttention`.
        drop_path: Rate at which the convolutions are dropped; the gated skip path stays.
        **kwargs: As for `ParNetAttention`.
    """

    def __init__(
        self,
        *,
        activation: str = "silu",
        drop_path: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(activation=activation, **kwargs)
        self.drop_path = drop_path
        self.stochastic_depth = stochastic_depth(drop_path, dtype=self.dtype_policy)

    def _convolve(self, x: Tensor, training: bool | None) -> Tensor:
        """Return the sum of the convolutions, which stochastic depth drops for some samples."""
        return self.stochastic_depth(super()._convolve(x, training), training=training)


@keras.saving.register_keras_serializable(package="attn_core")
class ParNetTransition(Block):
    r"""Block that changes the size or the width: two convolutions and a gate on their sum.

    The pooling is only there with strides 2. With groups, the channels of the groups are shuffled
    at the end:

    $$y = a((\mathrm{BN}(K_3 * x) + \mathrm{BN}(K_1 * \mathrm{pool}(x))) \cdot
    2\,\sigma(W\,\mathrm{mean}_{hw}(x)))$$

    Args:
        filters: Number of output channels.
        strides: 2 halves height and width, which must then be even; 1 keeps them.
        groups: Groups of channels of all convolutions.
        activation: Name of the Keras activation a.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(
        self,
        filters: int,
        *,
        strides: int = 2,
        groups: int = 1,
        activation: str = "silu",
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.groups = groups
        self.activation = activation
        self.activate = checks.activation(self, "activation", activation)
        checks.divisible(self, "`filters`", filters, "groups", groups)

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions and the gate."""
        self.channels = input_shape[-1]
        self.build_convolutions()
        self.gate = self.convolution("gate", 1, activation="sigmoid")

    def convolution(self, name: str, kernel_size: int, **options: Any) -> Conv2D:
        """Return a built convolution for the channels of the input, without bias by default."""
        options = {"use_bias": False, "groups": self.groups, "name": name, **options}
        shape = (None, None, None, self.channels)
        return child(self, Conv2D, self.filters, kernel_size, shape=shape, **options)

    def build_convolutions(self) -> None:
        """Create the 3x3 and the 1x1 convolution with their norms."""
        self.spatial = self.convolution("spatial", 3, strides=self.strides)
        self.pointwise = self.convolution("pointwise", 1)
        norm, shape = BatchNormalization, (None, None, None, self.filters)
        self.spatial_norm = child(self, norm, shape=shape, name="spatial_norm")
        self.pointwise_norm = child(self, norm, shape=shape, name="pointwise_norm")

    def convolve(self, x: Tensor, training: bool | None) -> Tensor:
        """Return the sum of the two convolutions."""
        spatial = self.spatial_norm(self.spatial(x), training=training)
        if self.strides == 2:
            x = average_pool(x, 2, 2)
        return spatial + self.pointwise_norm(self.pointwise(x), training=training)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Convolve and multiply by the gate."""
        _, height, width, _ = x.shape
        if self.strides == 2 and ((height or 0) % 2 or (width or 0) % 2):
            raise checks.error(
                self,
                "height and width must be even at every downsampling: in a network with three "
                "streams, those of the images must be multiples of 32.",
                f"height={height}, width={width}",
            )
        gate = 2 * self.gate(mean(x, axis=(1, 2), keepdims=True))  # (B, 1, 1, filters)
        x = self.activate(self.convolve(x, training) * gate)
        return x if self.groups == 1 else interleave(ops.split(x, self.groups, axis=-1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after the strides, with `filters` channels."""
        batch, *sides, _ = input_shape
        sides = (None if side is None else side // self.strides for side in sides)
        return (batch, *sides, self.filters)

    def fuse(self) -> "FusedParNetTransition":
        """Return the inference form: a new, built layer with the same outputs in inference."""
        fused = FusedParNetTransition.from_config({**self.get_config(), "name": None})
        fused.build((None, None, None, self.channels))
        kernel, bias = fold_norm(self.spatial.kernel, self.spatial_norm)
        pooled, offset = fold_norm(self.pointwise.kernel, self.pointwise_norm)
        if self.strides == 2:  # the pooling averages pixels 1 and 2 of the 3 that the kernel covers
            kernel[1:, 1:] += pooled / 4
        else:
            kernel[1:2, 1:2] += pooled
        fused.spatial.kernel.assign(kernel)
        fused.spatial.bias.assign(bias + offset)
        fused.gate.kernel.assign(ops.copy(self.gate.kernel))
        return fused

    def torch_names(self) -> TorchNames:
        """Name the parameters as imankgoyal/NonDeepNetworks `RepVGGBlock` does."""
        pointwise = "rbr_1x1" if self.strides == 1 else "rbr_1x1.1"  # after the pooling
        return {
            "rbr_dense.conv": self.spatial,
            "rbr_dense.bn": self.spatial_norm,
            f"{pointwise}.conv": self.pointwise,
            f"{pointwise}.bn": self.pointwise_norm,
            "se.cvsig.conv": self.gate,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class FusedParNetTransition(ParNetTransition):
    r"""Inference form of `ParNetTransition`, returned by its `fuse()`.

    $$y = a((K * x + b) \cdot 2\,\sigma(W\,\mathrm{mean}_{hw}(x)))$$

    Arguments, call and output are the same as for `ParNetTransition`.
    """

    def build_convolutions(self) -> None:
        """Create the 3x3 convolution that combines both."""
        self.spatial = self.convolution("spatial", 3, strides=self.strides, use_bias=True)

    def convolve(self, x: Tensor, training: bool | None) -> Tensor:
        """Return the output of the combined convolution."""
        return self.spatial(x)

    def fuse(self) -> "FusedParNetTransition":
        """Return the layer itself, because it is already fused."""
        return self

    def torch_names(self) -> TorchNames:
        """Name the parameters as imankgoyal/NonDeepNetworks does after `fuse_repvgg_block`."""
        return {"rbr_dense": self.spatial, "se.cvsig.conv": self.gate}


@keras.saving.register_keras_serializable(package="attn_core")
class ParNetMerge(Block):
    """Normalises two images of one shape and interleaves their channels."""

    def build(self, x_shape: Shape, other_shape: Shape) -> None:
        """Create a norm for each of the two images."""
        norm = BatchNormalization
        self.norms = [child(self, norm, shape=x_shape, name=name) for name in ("norm_1", "norm_2")]

    def call(self, x: Tensor, other: Tensor, training: bool | None = None) -> Tensor:
        """Normalise and interleave."""
        first, second = self.norms
        return interleave([first(x, training=training), second(other, training=training)])

    def compute_output_shape(self, x_shape: Shape, other_shape: Shape) -> Shape:
        """Return the shape of an image with twice the channels."""
        return (*x_shape[:-1], 2 * x_shape[-1])

    def torch_names(self) -> TorchNames:
        """Name the parameters as imankgoyal/NonDeepNetworks `MultiBatchNorm2d` does."""
        first, second = self.norms
        return {"b1": first, "b2": second}


def widths_of_streams(owner: Any, name: str, value: Any) -> tuple[int, ...]:
    """Check that an argument has an entry for each of two or more streams and for the output."""
    widths = checks.sequence(owner, name, value, checks.integer)
    if len(widths) < 3:
        message = f"`{name}` must have an entry for each of two or more streams and for the output."
        raise checks.error(owner, message, f"{name}={widths!r}")
    return widths


def name_of_activation(owner: Any, name: str, value: Any) -> Any:
    """Check that an argument is the name of a Keras activation; return it unchanged."""
    checks.activation(owner, name, value)
    return value


@keras.saving.register_keras_serializable(package="attn_core")
class ParNet(AttentionModel):
    """ParNet: parallel streams of `ParNetAttention`, each with half the resolution of the previous.

    A chain of downsamplings gives each stream its input. The outputs are then merged, beginning
    with the finest stream: the result so far is downsampled and merged with the output of the next
    stream. After the last merge comes a convolution, and then the last downsampling. The feature
    maps are the outputs of the streams and the final output. After training, `fuse()` replaces
    every two parallel convolutions by one.

    Args:
        filters: Number of channels of each stream and, as the last entry, of the network's output.
            Widths of convolutions that follow a merge must be even.
        depths: Number of blocks of each stream, a tuple or one value for all of them.
        activation: Name of the Keras activation of all blocks.
        fused: Whether this is the inference form that `fuse()` returns.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate before the classifier.
        drop_path: Rate of stochastic depth in the last block of each stream, rising to it from 0;
            not in the inference form. The authors do not use it.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W are multiples of 32 (with three streams) and
            may be dynamic. Published at 224 x 224.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, filters[-1])`.

    Raises:
        ValueError: If an argument or the size of the images is not as described.

    Example:
        >>> import numpy as np
        >>> model = ParNet((8, 12, 16, 24), depths=1, num_classes=10)
        >>> tuple(model(np.ones((2, 64, 96, 3))).shape)
        (2, 10)
        >>> model.count_params(), model.fuse().count_params()
        (21250, 18446)

    Reference:
        Goyal, Bochkovskiy, Deng, Koltun, "Non-deep Networks", NeurIPS 2022, arXiv:2110.07641. The
        outputs and the names of the parameters are the same as those of imankgoyal/NonDeepNetworks
        `SimpNet`, whose `num_blocks` also counts one downsampling for each stream. The variants are
        its configuration files, including the dropout of L and XL.

    Differs from the authors' code:
        Activations are silu, as in the paper. The authors' code uses relu unless its list contains
        the word "swish". In their configuration files the word is in a list inside that list, so
        the code does not find it: a checkpoint trained with those files needs `activation="relu"`.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "parnet_s": {"filters": (92, 192, 384, 1280)},
        "parnet_m": {"filters": (128, 256, 512, 2048)},
        "parnet_l": {"filters": (160, 320, 640, 2560), "dropout": 0.1},
        "parnet_xl": {"filters": (200, 400, 800, 3200), "dropout": 0.1},
    }

    # The authors' `validate.py` with the arguments of validate_models.sh.
    PREPROCESS: ClassVar[dict[str, Preprocess]] = {name: Preprocess(224) for name in VARIANTS}

    @checked(
        per_stage=("depths",),
        stages=lambda config: len(config["filters"]) - 1,
        filters=widths_of_streams,
        activation=name_of_activation,
    )
    def __init__(
        self,
        filters: tuple[int, ...] = (64, 128, 256, 512),
        *,
        depths: int | tuple[int, ...] = (4, 5, 5),
        activation: str = "silu",
        fused: bool = False,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        net = Graph((None, None, in_channels), **kwargs)
        convolve = transitions(net, activation, fused)
        x = convolve("stem", "inits.0.0", min(64, filters[0]))(net.images)
        x = convolve("init_0", "inits.0.1", filters[0])(x)
        for stream, depth in enumerate(depths):
            if stream > 0:
                x = convolve(f"init_{stream}", f"inits.{stream}", filters[stream])(x)
            rates = drop_path_rates(drop_path, (depth,))[0]
            net.stages.append(run_stream(net, x, stream, rates, activation, fused))

        x = convolve("down_0", "downsamples_2.0", filters[1])(net.stages[0])
        for stream, y in enumerate(net.stages[1:-1], start=1):
            there = f"downsamples_2.{stream}"
            x = net.add(ParNetMerge, name=f"merge_{stream}", torch=f"{there}.0")(y, x)
            x = convolve(f"down_{stream}", f"{there}.2", filters[stream + 1], groups=2)(x)
        x = net.add(ParNetMerge, name="merge", torch="combine.0")(net.stages[-1], x)
        x = convolve("fusion", "combine.2", filters[-2], strides=1, groups=2)(x)
        x = convolve("last", "combine.3", filters[-1])(x)
        net.stages.append(x)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head.fc", dropout=dropout)
        self.finish(net, x)

    def fuse(self) -> Self:
        """Return the inference form: one 3x3 convolution with bias for each pair of 3x3 and 1x1.

        It is a new network named `<name>_fused`, with `fused=True` and the same outputs in
        inference. This network does not change. A network that is already fused returns itself.
        """
        if self._config["fused"]:
            return self
        check_plain(self, "fuse it first, then call `quantize` or `enable_lora`")
        config = {**self.get_config(), "fused": True, "name": f"{self.name}_fused"}
        model = type(self).from_config(config)
        for layer, target in zip(self.layers, model.layers, strict=True):
            source = layer.fuse() if hasattr(layer, "fuse") else layer
            target.set_weights(source.get_weights())
        return model


def transitions(net: Graph, activation: str, fused: bool) -> Callable[..., ParNetTransition]:
    """Return a function that adds a transition, given our name, the authors' name and the width."""

    def add(name: str, torch: str, width: int, **options: Any) -> ParNetTransition:
        kind = FusedParNetTransition if fused else ParNetTransition
        names = {"name": name, "torch": f"{torch}.block", "activation": activation}
        return net.add(kind, width, **names, **options)

    return add


def run_stream(
    net: Graph, x: Tensor, stream: int, rates: Sequence[float], activation: str, fused: bool
) -> Tensor:
    """Return the output of the blocks of a stream for an image."""
    for i, rate in enumerate(rates):
        names = {"name": f"stream_{stream}_block_{i}", "torch": f"streams.{stream}.{i}.block"}
        options = {"activation": activation, "data_format": "channels_last"}
        if fused:
            x = net.add(FusedParNetAttention, **names, **options)(x)
        else:
            x = net.add(ParNetBlock, drop_path=rate, **names, **options)(x)
    return x
