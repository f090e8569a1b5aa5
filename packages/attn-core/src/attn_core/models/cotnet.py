"""CoTNet: a residual network whose 3x3 convolutions are contextual transformers."""

from typing import ClassVar

import keras
from keras import layers, ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.layers.windows.cot import CoTAttention
from attn_core.models.base import AttentionModel, drop_path_rates, stochastic_depth
from attn_core.ops.convolution import pad_image


@keras.saving.register_keras_serializable(package="attn_core")
class CoTBottleneck(ImageLayer):
    r"""Residual bottleneck around `CoTAttention`: narrow, attend, widen, add.

    At strides 2 a 3x3 average pooling comes before the attention. The shortcut is a (strided) 1x1
    convolution where the shapes differ, and the input itself where they do not:

    $$y = \mathrm{relu}(\mathrm{BN}(W_2\,\mathrm{CoT}(\mathrm{pool}(\mathrm{relu}(\mathrm{BN}(
    W_1 x))))) + \mathrm{shortcut}(x))$$

    Args:
        filters: Width of the attention, a multiple of 8; the output has 4 * filters channels.
        strides: 1, or 2 to halve height and width.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the batch's statistics.

    Returns:
        Image, `(B, H / strides, W / strides, 4 * filters)` or `(B, 4 * filters, H / strides,
        W / strides)`, sides rounded up.

    Raises:
        ValueError: If an argument is out of range, or the input is not an image of a known number
            of channels.

    Example:
        >>> import numpy as np
        >>> tuple(CoTBottleneck(16, strides=2)(np.ones((2, 10, 7, 20))).shape)
        (2, 5, 4, 64)

    Reference:
        Li, Yao, Pan, Mei, "Contextual Transformer Networks for Visual Recognition", 2021,
        arXiv:2107.12292; numbers and names as JDAI-CV/CoTNet `models/cotnet.py` `Bottleneck`.
    """

    def __init__(self, filters: int, *, strides: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters = self.integer("filters", filters)
        self.strides = self.choice("strides", strides, (1, 2))
        self.divisible("`filters`", filters, "the channels that share one kernel", 8)

    def build(self, input_shape):
        """Create the convolutions, their norms, the attention and the shortcut."""
        _, _, channels = self.check_image(input_shape)
        wide = 4 * self.filters

        def create(cls, name, inputs, *args, **options):
            layer = cls(*args, name=name, dtype=self.dtype_policy, **options)
            layer.build((None, None, None, inputs))
            return layer

        dense, norm = layers.Dense, BatchNormalization
        self.narrow = create(dense, "narrow", channels, self.filters, use_bias=False)
        self.narrow_norm = create(norm, "narrow_norm", self.filters)
        self.attention = create(
            CoTAttention, "attention", self.filters, data_format="channels_last"
        )
        self.widen = create(dense, "widen", self.filters, wide, use_bias=False)
        self.widen_norm = create(norm, "widen_norm", wide)
        self.shortcut = None
        if self.strides > 1 or channels != wide:
            self.shortcut = create(
                Conv2D, "shortcut", channels, wide, 1, strides=self.strides, use_bias=False
            )
            self.shortcut_norm = create(norm, "shortcut_norm", wide)

    def call(self, x, training=None):
        """Attend in the narrow image and add the shortcut."""
        x = self.to_channels_last(x)
        branch = ops.relu(self.narrow_norm(self.narrow(x), training=training))
        if self.strides == 2:  # the zeros of the padding count, as in PyTorch
            branch = ops.average_pool(pad_image(branch, 1), 3, 2, "valid", "channels_last")
        branch = self.attention(branch, training=training)
        branch = self.widen_norm(self.widen(branch), training=training)
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x), training=training)
        return self.from_channels_last(ops.relu(self.join(branch, x, training)))

    def join(self, branch, shortcut, training):
        """Add the branch to the shortcut; networks drop it for some samples."""
        return branch + shortcut

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape after the strides, with 4 * filters channels."""
        batch, *sides, _ = self.channels_last_shape(input_shape)
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return self.own_shape((batch, *sides, 4 * self.filters))

    def torch_names(self) -> dict:
        """Name the parameters as JDAI-CV/CoTNet does."""
        names = {
            "conv1": self.narrow,
            "bn1": self.narrow_norm,
            "conv2": self.attention,
            "conv3": self.widen,
            "bn3": self.widen_norm,
        }
        if self.shortcut is not None:
            names |= {"downsample.0": self.shortcut, "downsample.1": self.shortcut_norm}
        return names


@keras.saving.register_keras_serializable(package="attn_core")
class CoTNetBlock(CoTBottleneck):
    """`CoTBottleneck` with stochastic depth.

    Args:
        filters: As for `CoTBottleneck`.
        strides: As for `CoTBottleneck`.
        drop_path: Rate of stochastic depth.
        **kwargs: As for `CoTBottleneck`.
    """

    def __init__(self, filters: int, *, strides: int = 1, drop_path: float = 0.0, **kwargs):
        super().__init__(filters, strides=strides, **kwargs)
        self.drop_path = drop_path
        self.stochastic_depth = stochastic_depth(drop_path, dtype=self.dtype_policy)

    def join(self, branch, shortcut, training):
        """Add the branch, dropped for some samples."""
        return super().join(self.stochastic_depth(branch, training=training), shortcut, training)


@keras.saving.register_keras_serializable(package="attn_core")
class CoTNet(AttentionModel):
    """CoTNet: a ResNet of four stages, the 3x3 convolutions of whose blocks are `CoTAttention`.

    No weight depends on the image's size, so one model takes images of all sizes. What is "of each
    stage" is a tuple, or one value for all four.

    Args:
        depths: Number of bottlenecks of each stage.
        filters: Width of the attention of each stage, multiples of 8; a stage's output has four
            times as many channels.
        stem_width: Number of channels of the stem.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate before the classifier (0.25 in the authors' training).
        drop_path: Rate of stochastic depth in the last block, rising to it from 0 (0.1 there).
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, 3)`; H and W may be dynamic. Published at 224 x 224.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, 4 * filters[-1])`, sides rounded up.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = CoTNet(1, filters=(8, 8, 16, 16), stem_width=8, num_classes=10)
        >>> tuple(model(np.ones((2, 64, 64, 3))).shape)
        (2, 10)
        >>> tuple(model(np.ones((2, 50, 35, 3))).shape)
        (2, 10)

    Reference:
        Li, Yao, Pan, Mei, "Contextual Transformer Networks for Visual Recognition", 2021,
        arXiv:2107.12292; numbers and names as JDAI-CV/CoTNet `cotnet50` and `cotnet101`.
    """

    VARIANTS: ClassVar = {"cotnet_50": {}, "cotnet_101": {"depths": (3, 4, 23, 3)}}

    def __init__(
        self,
        depths: int | tuple[int, ...] = (3, 4, 6, 3),
        *,
        filters: int | tuple[int, ...] = (64, 128, 256, 512),
        stem_width: int = 64,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        counts = self.per_stage("depths", depths, 4, self.integer)
        widths = self.per_stage("filters", filters, 4, self.integer)
        config = {
            "depths": counts,
            "filters": widths,
            "stem_width": self.integer("stem_width", stem_width),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        for width in widths:
            self.divisible("`filters`", width, "the channels that share one kernel", 8)
        dtype, image = kwargs.pop("dtype", None), {"data_format": "channels_last"}

        images = keras.Input((None, None, 3))
        conv = Conv2D(stem_width, 7, strides=2, use_bias=False, name="stem_conv", dtype=dtype)
        norm = BatchNormalization(name="stem_norm", dtype=dtype)
        x = layers.Activation("relu", name="stem_relu", dtype=dtype)(norm(conv(images)))
        # Nothing is below zero after relu: zeros pad like the minus infinity of PyTorch's pooling.
        x = layers.ZeroPadding2D(1, name="stem_padding", dtype=dtype, **image)(x)
        x = layers.MaxPooling2D(3, 2, name="stem_pool", dtype=dtype, **image)(x)
        names, stages = {"conv1": conv, "bn1": norm}, []
        for stage, rates in enumerate(drop_path_rates(drop_path, counts)):
            blocks = []
            for i, rate in enumerate(rates):
                block = CoTNetBlock(
                    widths[stage],
                    strides=2 if stage > 0 and i == 0 else 1,
                    drop_path=rate,
                    name=f"stage_{stage}_block_{i}",
                    dtype=dtype,
                    **image,
                )
                x = block(x)
                blocks.append(block)
            names[f"layer{stage + 1}"] = blocks
            stages.append(x)
        if include_top:
            x = layers.GlobalAveragePooling2D(name="pool", dtype=dtype, **image)(x)
            x = layers.Dropout(dropout, name="head_dropout", dtype=dtype)(x)
            names["fc"] = layers.Dense(num_classes, name="head", dtype=dtype)
            x = names["fc"](x)
        self.finish(images, x, config, names, stages, dtype, **kwargs)
