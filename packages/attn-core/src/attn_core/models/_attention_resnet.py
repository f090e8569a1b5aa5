"""The ResNet in which most gates and branches were published, with an attention in each block."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._typing import ImageArguments, KerasArguments, Shape, Tensor, TorchNames
from attn_core.layers import (
    BAM,
    CBAM,
    ECAAttention,
    GlobalContextAttention,
    PyramidSqueezeAttention,
    SEAttention,
    ShuffleAttention,
    SKAttention,
    SpatialGroupEnhance,
    TripletAttention,
)
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph
from attn_core.models._preprocess import Preprocess
from attn_core.models._resnet_parts import Bottleneck, stages, stem

Options = Mapping[str, Any]


@keras.saving.register_keras_serializable(package="attn_core")
class GroupedSelectiveKernel(SKAttention):
    """Selective kernel of 3x3 convolutions that differ in their numbers of groups.

    Args:
        branch_groups: Number of groups of each convolution.
        reduction: Factor by which the width of z is smaller than the number of channels.
        strides: Strides of the convolutions.
        **kwargs: `data_format` and Keras' own layer arguments.
    """

    def __init__(
        self,
        branch_groups: tuple[int, ...] = (1, 32),
        *,
        reduction: int = 16,
        strides: int = 1,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        self.branch_groups = branch_groups
        self.strides = strides
        sizes = (3,) * len(branch_groups)
        super().__init__(sizes, reduction=reduction, min_width=1, dilated=False, **kwargs)

    def _branch(self, index: int) -> dict[str, Any]:
        """Return the arguments of the convolution of a branch."""
        groups = self.branch_groups[index]
        return {**super()._branch(index), "groups": groups, "strides": self.strides}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after the strides."""
        batch, *sides, channels = self.channels_last_shape(input_shape)
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return self.from_channels_last_shape((batch, *sides, channels))

    def torch_names(self) -> TorchNames:
        """Name the parameters as implus/PytorchInsight does, within its bottleneck."""
        names = {"conv_fc1": self.squeeze, "bn_fc1": self.normalize, "conv_fc2": self.select}
        branches = zip(("", "g"), self.convolutions, self.norms, strict=True)
        return names | {
            f"{kind}2{end}": layer
            for end, conv, norm in branches
            for kind, layer in (("conv", conv), ("bn", norm))
        }


@dataclass(frozen=True)
class Published:
    """Where and how a mechanism was published in a ResNet.

    Attributes:
        layer: Its class.
        torch: The authors' name of it.
        place: "branch" for the output of the last convolution, "convolution" for a layer instead of
            the 3x3 convolution, "stage" for the output of a stage.
        normalized: Whether the norm and the relu of the 3x3 convolution stay.
        options: Arguments that differ from the defaults of the class.
    """

    layer: Callable[..., keras.layers.Layer]
    torch: str
    place: str = "branch"
    normalized: bool = True
    options: Options = field(default_factory=dict)


PUBLISHED = {
    "bam": Published(BAM, "bam", "stage"),
    "cbam": Published(CBAM, "cbam"),
    "eca": Published(ECAAttention, "eca"),
    "epsa": Published(PyramidSqueezeAttention, "conv2", "convolution"),
    "gc": Published(GlobalContextAttention, "context_block"),
    "sa": Published(ShuffleAttention, "sa"),
    "se": Published(SEAttention, "se", options={"use_bias": True}),
    "sge": Published(SpatialGroupEnhance, "sge"),
    "sk": Published(GroupedSelectiveKernel, "", "convolution", normalized=False),
    "triplet": Published(TripletAttention, "triplet_attention"),
}
"""The mechanisms by the names that `AttentionResNet` gives them."""

ECA_KERNELS = {
    number: tuple({"kernel_size": size} for size in sizes)
    for number, sizes in {"50": (3, 5, 5, 7), "101": (3, 3, 5, 7)}.items()
}
"""The kernel sizes of ECA by stage: those of the released weights, not of the paper's formula."""


def create(attention: str, options: Options, **more: Any) -> keras.layers.Layer:
    """Return a new mechanism, not yet built."""
    published = PUBLISHED[attention]
    arguments = {**published.options, **options, **more, "data_format": "channels_last"}
    return published.layer(**arguments)


@keras.saving.register_keras_serializable(package="attn_core")
class AttentionBottleneck(Bottleneck):
    """Residual bottleneck with a 3x3 convolution and an attention after it, or instead of it.

    Args:
        filters: As for `Bottleneck`.
        attention: A name of `PUBLISHED` whose place is not the end of a stage, or `None`.
        options: Arguments of the attention.
        **kwargs: As for `Bottleneck`.
    """

    def __init__(
        self,
        filters: int,
        *,
        attention: str | None = None,
        options: Options | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, **kwargs)
        self.attention = attention
        self.options = dict(options or {})
        self.published = None if attention is None else PUBLISHED[attention]

    def stands(self, place: str) -> bool:
        """Return whether there is an attention at a place."""
        return self.published is not None and self.published.place == place

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions and the attention."""
        super().build(input_shape)
        self.gate = None
        if self.stands("branch"):
            wide = (None, None, None, self.expansion * self.filters)
            self.gate = child(
                self, create, self.attention, self.options, shape=wide, name="attention"
            )

    def build_mixer(self, image: Shape) -> None:
        """Create the 3x3 convolution, or the attention instead of it."""
        strides = {"strides": self.strides}
        if self.stands("convolution"):
            options = {**self.options, **strides}
            self.mixer = child(self, create, self.attention, options, shape=image, name="attention")
        else:
            options = {"use_bias": False, "name": "convolution", **strides}
            self.mixer = child(self, Conv2D, self.filters, 3, shape=image, **options)
        self.mixer_norm = None
        if self.published is None or self.published.normalized:
            self.mixer_norm = self.norm("mixer_norm", self.filters)

    def mix(self, x: Tensor, training: bool | None) -> Tensor:
        """Apply the 3x3 convolution, or the attention instead of it."""
        x = self.mixer(x, training=training)
        return x if self.mixer_norm is None else ops.relu(self.mixer_norm(x, training=training))

    def finish(self, branch: Tensor, training: bool | None) -> Tensor:
        """Apply the attention to the output of the last convolution, if it is there."""
        return branch if self.gate is None else self.gate(branch, training=training)

    def torch_names(self) -> TorchNames:
        """Name the parameters as the authors of the attention do."""
        names = super().torch_names()
        names[self.published.torch if self.stands("convolution") else "conv2"] = self.mixer
        if self.mixer_norm is not None:
            names["bn2"] = self.mixer_norm
        if self.gate is not None:
            names[self.published.torch] = self.gate
        return names


def attention_options(owner: Any, name: str, value: Any) -> dict[str, Any]:
    """Check that an argument is `None` or a dict of arguments; return them, lists as tuples."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        message = f"`{name}` must be a dict of arguments of the attention."
        raise checks.error(owner, message, f"{name}={value!r}")
    return {key: tuple(one) if isinstance(one, list) else one for key, one in value.items()}


@keras.saving.register_keras_serializable(package="attn_core")
class AttentionResNet(AttentionModel):
    """ResNet with an attention in each bottleneck, as the authors of the attention published it.

    The attention rescales the output of the last convolution of each bottleneck, before the
    shortcut is added. "epsa" and "sk" replace the 3x3 convolution instead, and "bam" follows a
    stage. No weight depends on the size of the image, so one model accepts images of all sizes.
    Arguments "of each stage" are a tuple, or one value for all four stages.

    Args:
        attention: Name of the attention of each stage: "bam", "cbam", "eca", "epsa" (pyramid
            squeeze), "gc" (global context), "sa" (shuffle), "se", "sge", "sk" or "triplet"; `None`
            for a stage without one.
        attention_options: Arguments of the attention's class, of each stage: a dict that replaces
            what the authors chose. "sk" takes `branch_groups`, the numbers of groups of its two
            convolutions, and `reduction`.
        depths: Number of bottlenecks of each stage.
        filters: Width of the 3x3 convolution of each stage; a stage's output has four times as many
            channels.
        stem_width: Number of channels of the stem.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate before the classifier.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W may be dynamic. Published at 224 x 224.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, 4 * filters[-1])`, sides rounded up.

    Raises:
        ValueError: If an argument is not as described, or the attention does not accept one of its
            arguments.

    Example:
        >>> import numpy as np
        >>> small = {"depths": 1, "filters": (8, 8, 16, 16), "stem_width": 8, "num_classes": 10}
        >>> model = AttentionResNet("se", attention_options={"reduction": 4}, **small)
        >>> tuple(model(np.ones((2, 64, 64, 3))).shape)
        (2, 10)

    Reference:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
        arXiv:1512.03385, with the strides in the 3x3 convolution. The outputs and the names of the
        parameters of the variants are the same as those of BangguWu/ECANet,
        Jongchan/attention-module (BAM and CBAM), implus/PytorchInsight (SE, SGE and SK),
        landskape-ai/triplet-attention, murufeng/EPSANet, wofmanaf/SA-Net and xvjiarui/GCNet, whose
        network is a backbone without a classifier; those of `resnet_*` and `se_resnet_*` are also
        the same as those of timm's `resnet50`, `resnet101`, `seresnet50` and `seresnet101`.
    """

    TOP = ("fc",)

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        f"{name}_{number}": {**arguments, **depths}
        for number, depths in (("50", {}), ("101", {"depths": (3, 4, 23, 3)}))
        for name, arguments in (
            ("resnet", {}),
            ("se_resnet", {"attention": "se"}),
            ("eca_resnet", {"attention": "eca", "attention_options": ECA_KERNELS[number]}),
            ("cbam_resnet", {"attention": "cbam"}),
            ("sk_resnet", {"attention": "sk"}),
            ("sge_resnet", {"attention": "sge"}),
            ("sa_resnet", {"attention": "sa"}),
            ("triplet_resnet", {"attention": "triplet"}),
            ("bam_resnet", {"attention": ("bam", "bam", "bam", None)}),
            ("gc_resnet", {"attention": (None, "gc", "gc", "gc")}),
            ("epsanet", {"attention": "epsa"}),
        )
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {
        name: Preprocess(224, 0.875, "bilinear")
        for name in VARIANTS
        if not name.startswith(("resnet", "gc"))  # there are many checkpoints, and none
    }

    @checked(
        per_stage=("attention", "attention_options", "depths", "filters"),
        stages=4,
        attention=partial(checks.choice, choices=(None, *PUBLISHED)),
        attention_options=attention_options,
    )
    def __init__(
        self,
        attention: str | tuple[str | None, ...] | None = None,
        *,
        attention_options: Options | tuple[Options | None, ...] | None = None,
        depths: int | tuple[int, ...] = (3, 4, 6, 3),
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
        net = Graph((None, None, in_channels), **kwargs)
        chosen = list(zip(attention, attention_options, strict=True))
        follows = [name is not None and PUBLISHED[name].place == "stage" for name in attention]

        def block(stage: int, i: int) -> tuple[type[AttentionBottleneck], Options]:
            name, options = (None, {}) if follows[stage] else chosen[stage]
            return AttentionBottleneck, {"attention": name, "options": options}

        def end(stage: int, x: Tensor) -> Tensor:
            if not follows[stage]:
                return x
            name, options = chosen[stage]
            names = {
                "name": f"stage_{stage}_attention",
                "torch": f"{PUBLISHED[name].torch}{stage + 1}",
            }
            return net.add(create, name, options, **names)(x)

        x = stem(net, {"conv1": stem_width}, ["bn1"], 7)
        shape = {"filters": filters, "depths": depths, "drop_path": drop_path}
        x = stages(net, x, block, end=end, **shape)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="fc", dropout=dropout)
        self.finish(net, x)
