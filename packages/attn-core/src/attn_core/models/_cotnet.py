"""CoTNet: a residual network whose 3x3 convolutions are contextual transformers."""

from typing import Any, ClassVar, Unpack

import keras

from attn_core import _checks as checks
from attn_core._typing import ImageArguments, KerasArguments, Shape, Tensor, TorchNames
from attn_core.layers import CoTAttention
from attn_core.layers._children import child
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph
from attn_core.models._preprocess import Preprocess
from attn_core.models._resnet_parts import Bottleneck, halve, stages, stem


@keras.saving.register_keras_serializable(package="attn_core")
class CoTBottleneck(Bottleneck):
    r"""Residual bottleneck: 1x1 convolution, `CoTAttention`, 1x1 convolution, shortcut.

    With strides 2, a 3x3 average pooling comes before the attention. The shortcut is a (strided)
    1x1 convolution if the shapes differ; otherwise it is the input itself:

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
        arXiv:2107.12292. The outputs and the names of the parameters are the same as those of
        JDAI-CV/CoTNet `models/cotnet.py` `Bottleneck`.
    """

    def __init__(self, filters: int, *, strides: int = 1, **kwargs: Unpack[ImageArguments]) -> None:
        super().__init__(filters, strides=strides, **kwargs)
        checks.divisible(self, "`filters`", filters, "the channels that share one kernel", 8)

    def build_mixer(self, image: Shape) -> None:
        """Create the attention."""
        options = {"data_format": "channels_last", "name": "attention"}
        self.attention = child(self, CoTAttention, shape=image, **options)

    def mix(self, x: Tensor, training: bool | None) -> Tensor:
        """Apply the attention, after a pooling if there are strides."""
        return self.attention(halve(x) if self.strides == 2 else x, training=training)

    def torch_names(self) -> TorchNames:
        """Name the parameters as JDAI-CV/CoTNet does."""
        return {**super().torch_names(), "conv2": self.attention}


@keras.saving.register_keras_serializable(package="attn_core")
class CoTNetBlock(CoTBottleneck):
    """`CoTBottleneck` with stochastic depth.

    Args:
        filters: As for `CoTBottleneck`.
        strides: As for `CoTBottleneck`.
        drop_path: Rate of stochastic depth.
        **kwargs: As for `CoTBottleneck`.
    """

    def __init__(
        self,
        filters: int,
        *,
        strides: int = 1,
        drop_path: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(filters, strides=strides, **kwargs)
        self.drop_path = drop_path


@keras.saving.register_keras_serializable(package="attn_core")
class CoTNet(AttentionModel):
    """CoTNet: a ResNet of four stages with `CoTAttention` instead of 3x3 convolutions.

    No weight depends on the size of the image, so one model accepts images of all sizes. Arguments
    "of each stage" are a tuple, or one value for all four stages.

    Args:
        depths: Number of bottlenecks of each stage.
        filters: Width of the attention of each stage, multiples of 8; a stage's output has four
            times as many channels.
        stem_width: Number of channels of the stem.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate before the classifier (0.25 in the authors' training).
        drop_path: Rate of stochastic depth in the last block, rising to it from 0 (0.1 there).
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W may be dynamic. Published at 224 x 224.

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
        arXiv:2107.12292. The outputs and the names of the parameters are the same as those of
        JDAI-CV/CoTNet `cotnet50` and `cotnet101`.
    """

    TOP = ("fc",)

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "cotnet_50": {},
        "cotnet_101": {"depths": (3, 4, 23, 3)},
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {name: Preprocess(224) for name in VARIANTS}

    @checked(per_stage=("depths", "filters"), stages=4)
    def __init__(
        self,
        depths: int | tuple[int, ...] = (3, 4, 6, 3),
        *,
        filters: int | tuple[int, ...] = (64, 128, 256, 512),
        stem_width: int = 64,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        for width in filters:
            checks.divisible(self, "`filters`", width, "the channels that share one kernel", 8)
        net = Graph((None, None, in_channels), **kwargs)
        x = stem(net, {"conv1": stem_width}, ["bn1"], 7)
        shape = {"filters": filters, "depths": depths, "drop_path": drop_path}
        x = stages(net, x, lambda stage, block: (CoTNetBlock, {}), **shape)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="fc", dropout=dropout)
        self.finish(net, x)
