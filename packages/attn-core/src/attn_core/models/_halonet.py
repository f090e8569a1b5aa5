"""HaloNet: a residual network with halo attention instead of 3x3 convolutions."""

from functools import partial
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._typing import KerasArguments, Shape, Tensor, TorchNames
from attn_core.layers import HaloAttention
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph
from attn_core.models._preprocess import Preprocess
from attn_core.models._resnet_parts import Bottleneck, stages, stem


@keras.saving.register_keras_serializable(package="attn_core")
class HaloBottleneck(Bottleneck):
    """Residual bottleneck: 1x1 convolution, 3x3 convolution or halo attention, 1x1 convolution.

    Args:
        filters: As for `Bottleneck`.
        expansion: Width of the output as a multiple of `filters`.
        attention: Arguments of the attention; with `None` there is a convolution.
        **kwargs: As for `Bottleneck`.
    """

    def __init__(
        self,
        filters: int,
        *,
        expansion: int = 4,
        attention: dict[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, **kwargs)
        self.expansion = expansion
        self.attention = attention

    def build_mixer(self, image: Shape) -> None:
        """Create the convolution or the attention, and the norm after it."""
        options: dict[str, Any] = {"shape": image, "strides": self.strides, "name": "mixer"}
        if self.attention is None:
            self.mixer = child(self, Conv2D, self.filters, 3, use_bias=False, **options)
        else:
            options |= {"data_format": "channels_last", **self.attention}
            self.mixer = child(self, HaloAttention, **options)
        self.mixer_norm = self.norm("mixer_norm", self.filters)

    def mix(self, x: Tensor, training: bool | None) -> Tensor:
        """Apply the convolution or the attention."""
        return ops.relu(self.mixer_norm(self.mixer(x), training=training))

    def torch_names(self) -> TorchNames:
        """Name the parameters as timm does."""
        attends = self.attention is not None
        names = {
            "conv1_1x1.conv": self.narrow,
            "conv1_1x1.bn": self.narrow_norm,
            "self_attn" if attends else "conv2_kxk.conv": self.mixer,
            "post_attn" if attends else "conv2_kxk.bn": self.mixer_norm,
            "conv3_1x1.conv": self.widen,
            "conv3_1x1.bn": self.widen_norm,
        }
        if self.shortcut is not None:
            names |= {"shortcut.conv": self.shortcut, "shortcut.bn": self.shortcut_norm}
        return names


def pattern(owner: Any, name: str, value: Any) -> str:
    """Check that an argument is a non-empty string of the letters C and T."""
    if not isinstance(value, str) or not value or set(value) - {"C", "T"}:
        message = f'`{name}` must be a string of "C" and "T".'
        raise checks.error(owner, message, f"{name}={value!r}")
    return value


@keras.saving.register_keras_serializable(package="attn_core")
class HaloNet(AttentionModel):
    """HaloNet: a ResNet of four stages with `HaloAttention` in the late ones, or in all.

    No weight depends on the size of the image, so one model accepts images of several sizes. In
    each stage with attention, height and width of the feature map must be multiples of its
    `block_size`. Arguments "of each stage" are a tuple, or one value for all four stages.

    Args:
        depths: Number of bottlenecks of each stage.
        block_types: The bottlenecks of each stage, repeated up to its depth: "C" for a convolution
            and "T" for attention, so that "CT" alternates them.
        filters: Width of the convolution or attention of each stage.
        expansion: Width of a stage's output, as a multiple of its `filters`.
        stem_widths: Number of channels of each 3x3 convolution of the stem; if it is one number,
            the stem is a single 7x7 convolution.
        block_size: As for `HaloAttention`, of each stage.
        halo_size: As for `HaloAttention`, of each stage.
        num_heads: As for `HaloAttention`, of each stage; divides `filters`.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate before the classifier.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W may be dynamic. Published at 256 x 256,
            for which both must be multiples of 256.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, expansion * filters[-1])`.

    Raises:
        ValueError: If an argument or the size of the images is not as described.

    Example:
        >>> import numpy as np
        >>> small = {"filters": (8, 8, 16, 16), "stem_widths": 8, "block_size": 2, "num_heads": 2}
        >>> model = HaloNet(1, num_classes=10, **small)
        >>> tuple(model(np.ones((2, 64, 128, 3))).shape)
        (2, 10)

    Reference:
        Vaswani et al., "Scaling Local Self-Attention for Parameter Efficient Visual Backbones",
        CVPR 2021, arXiv:2103.12731, for which the authors released no code. The outputs and the
        names of the parameters are the same as those of timm's `halonet26t` and `halonet_h1`.
    """

    TOP = ("head.fc",)

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "halonet_26t": {},
        "halonet_h1": {
            "depths": (3, 3, 10, 3),
            "block_types": "T",
            "expansion": 1,
            "stem_widths": 64,
            "halo_size": 3,
        },
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {"halonet_26t": Preprocess(256, 0.95)}

    @checked(
        per_stage=("depths", "block_types", "filters", "block_size", "halo_size", "num_heads"),
        stages=4,
        block_types=pattern,
        block_size=checks.integer,
        halo_size=partial(checks.integer, minimum=0),
        expansion=checks.integer,
        stem_widths=lambda owner, name, value: (
            checks.sequence(owner, name, value, checks.integer)
            if isinstance(value, (list, tuple))
            else (checks.integer(owner, name, value),)
        ),
    )
    def __init__(
        self,
        depths: int | tuple[int, ...] = 2,
        *,
        block_types: str | tuple[str, ...] = ("C", "C", "CT", "T"),
        filters: int | tuple[int, ...] = (64, 128, 256, 512),
        expansion: int = 4,
        stem_widths: int | tuple[int, ...] = (24, 32, 64),
        block_size: int | tuple[int, ...] = 8,
        halo_size: int | tuple[int, ...] = 2,
        num_heads: int | tuple[int, ...] = 8,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        for types, width, heads in zip(block_types, filters, num_heads, strict=True):
            if "T" in types:
                checks.divisible(self, "`filters`", width, "num_heads", heads)
        net = Graph((None, None, in_channels), **kwargs)
        numbers = range(1, 1 + len(stem_widths))
        convolutions = {f"stem.conv{i}.conv": stem_widths[i - 1] for i in numbers}
        norms = [f"stem.conv{i}.bn" for i in numbers]
        x = stem(net, convolutions, norms, 3 if len(norms) > 1 else 7)

        def block(stage: int, i: int) -> tuple[type[HaloBottleneck], dict[str, Any]]:
            attention = {
                "block_size": block_size[stage],
                "halo_size": halo_size[stage],
                "num_heads": num_heads[stage],
            }
            types = block_types[stage]
            attends = types[i % len(types)] == "T"
            return HaloBottleneck, {
                "expansion": expansion,
                "attention": attention if attends else None,
            }

        shape = {"filters": filters, "depths": depths, "drop_path": drop_path}
        x = stages(net, x, block, torch="stages.{stage}.{block}", **shape)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head.fc", dropout=dropout)
        self.finish(net, x)
