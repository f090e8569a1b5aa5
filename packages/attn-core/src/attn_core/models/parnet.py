"""ParNet: a shallow network of parallel streams that fuses into plain convolutions."""

from typing import ClassVar

import keras
from keras import layers, ops

from attn_core.layers.branches.parnet import FusedParNetAttention, ParNetAttention, fold_norm
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.models.base import AttentionModel, Block, drop_path_rates, stochastic_depth
from attn_core.ops.precision import mean


def interleave(images):
    """Stack images of one shape channel by channel: the first of each, the second of each, ..."""
    x = ops.stack(images, axis=-1)
    return ops.reshape(x, (*ops.shape(x)[:3], x.shape[-2] * x.shape[-1]))


@keras.saving.register_keras_serializable(package="attn_core")
class ParNetBlock(ParNetAttention):
    """`ParNetAttention` with stochastic depth.

    Args:
        activation: As for `ParNetAttention`.
        drop_path: Rate at which its convolutions are dropped; the gated skip stays.
        **kwargs: As for `ParNetAttention`.
    """

    def __init__(self, *, activation="silu", drop_path: float = 0.0, **kwargs):
        super().__init__(activation=activation, **kwargs)
        self.drop_path = drop_path
        self.stochastic_depth = stochastic_depth(drop_path, dtype=self.dtype_policy)

    def convolve(self, x, training):
        """Return the sum of the convolutions, dropped for some samples."""
        return self.stochastic_depth(super().convolve(x, training), training=training)


@keras.saving.register_keras_serializable(package="attn_core")
class ParNetTransition(Block):
    r"""The block that changes size or width: two convolutions and a gate over what they give.

    The pooling is there at strides 2; with groups, their channels are shuffled at the end:

    $$y = a((\mathrm{BN}(K_3 * x) + \mathrm{BN}(K_1 * \mathrm{pool}(x))) \cdot
    2\,\sigma(W\,\mathrm{mean}_{hw}(x)))$$

    Args:
        filters: Number of output channels.
        strides: 2 halves height and width, which must be even; 1 keeps them.
        groups: Groups of channels of all convolutions.
        activation: Name of the Keras activation a.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(
        self, filters: int, *, strides: int = 2, groups: int = 1, activation="silu", **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.groups = groups
        self.activation = activation
        self.activate = self.activation_function("activation", activation)
        self.divisible("`filters`", filters, "groups", groups)

    def build(self, input_shape):
        """Create the convolutions and the gate."""
        self.channels = input_shape[-1]
        self.build_convolutions()
        self.gate = self.convolution("gate", 1, activation="sigmoid")

    def convolution(self, name, kernel_size, **options):
        """Return a built convolution of the input's channels, without bias if nothing is said."""
        options = {"use_bias": False, "groups": self.groups, "dtype": self.dtype_policy, **options}
        layer = Conv2D(self.filters, kernel_size, name=name, **options)
        layer.build((None, None, None, self.channels))
        return layer

    def build_convolutions(self):
        """Create the 3x3 and the 1x1 convolution with their norms."""
        self.spatial = self.convolution("spatial", 3, strides=self.strides)
        self.pointwise = self.convolution("pointwise", 1)
        self.spatial_norm = BatchNormalization(name="spatial_norm", dtype=self.dtype_policy)
        self.pointwise_norm = BatchNormalization(name="pointwise_norm", dtype=self.dtype_policy)
        for norm in (self.spatial_norm, self.pointwise_norm):
            norm.build((None, None, None, self.filters))

    def convolve(self, x, training):
        """Return the sum of the two convolutions."""
        spatial = self.spatial_norm(self.spatial(x), training=training)
        if self.strides == 2:
            x = ops.average_pool(x, 2, 2, "valid", "channels_last")
        return spatial + self.pointwise_norm(self.pointwise(x), training=training)

    def call(self, x, training=None):
        """Convolve and weigh."""
        _, height, width, _ = x.shape
        if self.strides == 2 and ((height or 0) % 2 or (width or 0) % 2):
            raise self.error(
                "height and width must be even here: those of the network's images must divide by "
                "2 at every downsampling (by 32 for three streams).",
                f"height={height}, width={width}",
            )
        gate = 2 * self.gate(mean(x, axis=(1, 2), keepdims=True))  # (B, 1, 1, filters)
        x = self.activate(self.convolve(x, training) * gate)
        return x if self.groups == 1 else interleave(ops.split(x, self.groups, axis=-1))

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape after the strides, with `filters` channels."""
        batch, *sides, _ = input_shape
        sides = (None if side is None else side // self.strides for side in sides)
        return (batch, *sides, self.filters)

    def fuse(self) -> "FusedParNetTransition":
        """Return the inference form: a new, built layer with equal outputs in inference."""
        fused = FusedParNetTransition.from_config({**self.get_config(), "name": None})
        fused.build((None, None, None, self.channels))
        kernel, bias = fold_norm(self.spatial.kernel, self.spatial_norm)
        pooled, offset = fold_norm(self.pointwise.kernel, self.pointwise_norm)
        if self.strides == 2:  # the pooling averages pixels 1 and 2 of the three under the kernel
            kernel[1:, 1:] += pooled / 4
        else:
            kernel[1:2, 1:2] += pooled
        fused.spatial.kernel.assign(kernel)
        fused.spatial.bias.assign(bias + offset)
        fused.gate.kernel.assign(ops.copy(self.gate.kernel))
        return fused

    def torch_names(self) -> dict:
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
    r"""The inference form of `ParNetTransition`, which its `fuse()` returns.

    $$y = a((K * x + b) \cdot 2\,\sigma(W\,\mathrm{mean}_{hw}(x)))$$

    Arguments, call and output are those of `ParNetTransition`.
    """

    def build_convolutions(self):
        """Create the 3x3 convolution that holds both."""
        self.spatial = self.convolution("spatial", 3, strides=self.strides, use_bias=True)

    def convolve(self, x, training):
        """Return the one convolution."""
        return self.spatial(x)

    def fuse(self) -> "FusedParNetTransition":
        """Return the layer itself: it is fused."""
        return self

    def torch_names(self) -> dict:
        """Name the parameters as after `fuse_repvgg_block` of imankgoyal/NonDeepNetworks."""
        return {"rbr_dense": self.spatial, "se.cvsig.conv": self.gate}


@keras.saving.register_keras_serializable(package="attn_core")
class ParNetMerge(Block):
    """Normalises two images of one shape and interleaves their channels."""

    def build(self, x_shape, other_shape):
        """Create a norm for each."""
        self.norms = [
            BatchNormalization(name=name, dtype=self.dtype_policy) for name in ("norm_1", "norm_2")
        ]
        for norm in self.norms:
            norm.build(x_shape)

    def call(self, x, other, training=None):
        """Normalise and interleave."""
        first, second = self.norms
        return interleave([first(x, training=training), second(other, training=training)])

    def compute_output_shape(self, x_shape, other_shape) -> tuple:
        """Return the shape of an image with twice the channels."""
        return (*x_shape[:-1], 2 * x_shape[-1])

    def torch_names(self) -> dict:
        """Name the parameters as imankgoyal/NonDeepNetworks `MultiBatchNorm2d` does."""
        first, second = self.norms
        return {"b1": first, "b2": second}


@keras.saving.register_keras_serializable(package="attn_core")
class ParNet(AttentionModel):
    """ParNet: parallel streams of `ParNetAttention`, each at half the resolution of the one before.

    A chain of downsamplings feeds the streams. From the finest stream on, what has been gathered is
    merged with the next stream's output and downsampled; the last merge is convolved before its
    downsampling. The feature maps are the streams' outputs and what comes out in the end. After
    training, `fuse()` makes one convolution of every two.

    Args:
        filters: Number of channels of each stream and, last, of the network's output; even where
            two streams have met.
        depths: Number of blocks of each stream, a tuple or one value for all of them.
        activation: Name of the Keras activation of all blocks.
        fused: Whether this is the inference form, as `fuse()` returns it.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate before the classifier.
        drop_path: Rate of stochastic depth in the last block of each stream, rising to it from 0;
            not in the inference form. The authors have none.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, 3)`, whose H and W divide by 32 (three streams); they may be dynamic.
            Published at 224 x 224.

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
        Goyal, Bochkovskiy, Deng, Koltun, "Non-deep Networks", NeurIPS 2022, arXiv:2110.07641;
        numbers and names as imankgoyal/NonDeepNetworks `SimpNet`, whose `num_blocks` count a
        downsampling to each stream. The variants are its configuration files, the dropout of L and
        XL included.

    Differs from the authors' code:
        Activations are silu, as in the paper. The authors' code takes relu where the word "swish"
        does not stand in its list, and in their configuration files it stands in a list inside that
        list: a checkpoint trained from those files needs `activation="relu"`.
    """

    VARIANTS: ClassVar = {
        "parnet_s": {"filters": (92, 192, 384, 1280)},
        "parnet_m": {"filters": (128, 256, 512, 2048)},
        "parnet_l": {"filters": (160, 320, 640, 2560), "dropout": 0.1},
        "parnet_xl": {"filters": (200, 400, 800, 3200), "dropout": 0.1},
    }

    def __init__(
        self,
        filters: tuple[int, ...] = (64, 128, 256, 512),
        *,
        depths: int | tuple[int, ...] = (4, 5, 5),
        activation: str = "silu",
        fused: bool = False,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        filters = self.sequence("filters", filters, self.integer)
        if len(filters) < 3:
            raise self.error(
                "`filters` must have an entry for each of two or more streams and for the output.",
                f"filters={filters!r}",
            )
        depths = self.per_stage("depths", depths, len(filters) - 1, self.integer)
        self.activation_function("activation", activation)
        config = {
            "filters": filters,
            "depths": depths,
            "activation": activation,
            "fused": self.flag("fused", fused),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        dtype, names = kwargs.pop("dtype", None), {}

        def add(cls, name, torch_name, *args, **options):
            names[torch_name] = cls(*args, name=name, dtype=dtype, **options)
            return names[torch_name]

        def transition(name, torch_name, width, **options):
            cls = FusedParNetTransition if fused else ParNetTransition
            return add(cls, name, f"{torch_name}.block", width, activation=activation, **options)

        images, stages = keras.Input((None, None, 3)), []
        x = transition("stem", "inits.0.0", min(64, filters[0]))(images)
        x = transition("init_0", "inits.0.1", filters[0])(x)
        for stream, depth in enumerate(depths):
            if stream > 0:
                x = transition(f"init_{stream}", f"inits.{stream}", filters[stream])(x)
            y = x
            for i, rate in enumerate(drop_path_rates(drop_path, [depth])[0]):
                cls = FusedParNetAttention if fused else ParNetBlock
                options = {"activation": activation, "data_format": "channels_last"}
                options |= {} if fused else {"drop_path": rate}
                name = f"stream_{stream}_block_{i}"
                y = add(cls, name, f"streams.{stream}.{i}.block", **options)(y)
            stages.append(y)

        x = transition("down_0", "downsamples_2.0", filters[1])(stages[0])
        for stream, y in enumerate(stages[1:-1], start=1):
            there = f"downsamples_2.{stream}"
            x = add(ParNetMerge, f"merge_{stream}", f"{there}.0")(y, x)
            x = transition(f"down_{stream}", f"{there}.2", filters[stream + 1], groups=2)(x)
        x = add(ParNetMerge, "merge", "combine.0")(stages[-1], x)
        x = transition("fusion", "combine.2", filters[-2], strides=1, groups=2)(x)
        x = transition("last", "combine.3", filters[-1])(x)
        stages.append(x)
        if include_top:
            x = layers.GlobalAveragePooling2D(
                data_format="channels_last", name="pool", dtype=dtype
            )(x)
            x = layers.Dropout(dropout, name="head_dropout", dtype=dtype)(x)
            x = add(layers.Dense, "head", "head.fc", num_classes)(x)
        self.finish(images, x, config, names, stages, dtype, **kwargs)

    def fuse(self) -> "ParNet":
        """Return the inference form: one 3x3 convolution with bias for every 3x3 and 1x1 pair.

        It is a new network named `<name>_fused`, with `fused=True` and equal outputs in inference;
        this one stays as it is. A network that is fused returns itself.
        """
        if self._config["fused"]:
            return self
        config = {**self.get_config(), "fused": True, "name": f"{self.name}_fused"}
        model = type(self).from_config(config)
        for layer, target in zip(self.layers, model.layers, strict=True):
            source = layer.fuse() if hasattr(layer, "fuse") else layer
            target.set_weights(source.get_weights())
        return model
