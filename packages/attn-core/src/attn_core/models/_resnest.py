"""ResNeSt: a ResNet whose 3x3 convolutions are split attention."""

from typing import Any, ClassVar, Unpack

import keras

from attn_core import _checks as checks
from attn_core._typing import KerasArguments, Shape, Tensor, TorchNames
from attn_core.layers import SplitAttention
from attn_core.layers._children import child
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph
from attn_core.models._preprocess import Preprocess
from attn_core.models._resnet_parts import Bottleneck, halve, stages, stem


@keras.saving.register_keras_serializable(package="attn_core")
class ResNeStBlock(Bottleneck):
    """Residual bottleneck: 1x1 convolution, `SplitAttention`, 1x1 convolution, shortcut.

    With strides 2, a 3x3 average pooling comes after the attention, and a 2x2 one before the
    convolution of the shortcut.

    Args:
        filters: Width of the attention; the output has 4 * filters channels.
        radix: As for `SplitAttention`.
        **kwargs: As for `Bottleneck`.
    """

    pools_shortcut: ClassVar[bool] = True

    def __init__(self, filters: int, *, radix: int = 2, **kwargs: Any) -> None:
        super().__init__(filters, **kwargs)
        self.radix = radix

    def build_mixer(self, image: Shape) -> None:
        """Create the attention."""
        options = {"radix": self.radix, "data_format": "channels_last"}
        self.mixer = child(self, SplitAttention, shape=image, name="attention", **options)

    def mix(self, x: Tensor, training: bool | None) -> Tensor:
        """Apply the attention, and a pooling after it if there are strides."""
        x = self.mixer(x, training=training)
        return halve(x) if self.strides == 2 else x

    def torch_names(self) -> TorchNames:
        """Name the parameters as zhanghang1989/ResNeSt and timm do."""
        return {**super().torch_names(), "conv2": self.mixer}


@keras.saving.register_keras_serializable(package="attn_core")
class ResNeSt(AttentionModel):
    """ResNeSt: a ResNet of four stages with `SplitAttention` instead of 3x3 convolutions.

    The stem consists of three 3x3 convolutions, and images are halved by average poolings. No
    weight depends on the size of the image, so one model accepts images of all sizes. Arguments "of
    each stage" are a tuple, or one value for all four stages.

    Args:
        depths: Number of bottlenecks of each stage.
        filters: Width of the attention of each stage, multiples of `radix`; a stage's output has
            four times as many channels.
        radix: Number of branches of the attention.
        stem_width: Number of channels of the first two convolutions of the stem; the third one has
            twice as many.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate before the classifier (0.2 in the authors' training of the deeper networks).
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W may be dynamic. Published at 224 x 224
            (`resnest_50`), 256, 320 and 416.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, 4 * filters[-1])`, sides rounded up.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = ResNeSt(1, filters=(8, 8, 16, 16), stem_width=4, num_classes=10)
        >>> tuple(model(np.ones((2, 64, 64, 3))).shape)
        (2, 10)

    Reference:
        Zhang et al., "ResNeSt: Split-Attention Networks", 2020, arXiv:2004.08955. The outputs and
        the names of the parameters are the same as those of zhanghang1989/ResNeSt `resnest50` to
        `resnest269`, which are timm's `resnest50d`, `resnest101e`, `resnest200e` and `resnest269e`.
    """

    TOP = ("fc",)

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "resnest_50": {},
        "resnest_101": {"depths": (3, 4, 23, 3), "stem_width": 64},
        "resnest_200": {"depths": (3, 24, 36, 3), "stem_width": 64},
        "resnest_269": {"depths": (3, 30, 48, 8), "stem_width": 64},
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {
        "resnest_50": Preprocess(224, 0.875, "bilinear"),
        "resnest_101": Preprocess(256, 0.875, "bilinear"),
        "resnest_200": Preprocess(320, 0.909),
        "resnest_269": Preprocess(416, 0.928),
    }

    @checked(per_stage=("depths", "filters"), stages=4, radix=checks.integer)
    def __init__(
        self,
        depths: int | tuple[int, ...] = (3, 4, 6, 3),
        *,
        filters: int | tuple[int, ...] = (64, 128, 256, 512),
        radix: int = 2,
        stem_width: int = 32,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        for width in filters:
            checks.divisible(self, "`filters`", width, "radix", radix)
        net = Graph((None, None, in_channels), **kwargs)
        widths = {"conv1.0": stem_width, "conv1.3": stem_width, "conv1.6": 2 * stem_width}
        x = stem(net, widths, ["conv1.1", "conv1.4", "bn1"], 3)
        shape = {"filters": filters, "depths": depths, "drop_path": drop_path}
        x = stages(net, x, lambda stage, block: (ResNeStBlock, {"radix": radix}), **shape)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="fc", dropout=dropout)
        self.finish(net, x)
