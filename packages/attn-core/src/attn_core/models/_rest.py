"""ResT: a vision transformer whose keys and values come from images of reduced size."""

from typing import Any, ClassVar, Unpack

import keras
from keras import layers, ops

from attn_core import _checks as checks
from attn_core._typing import KerasArguments, Shape, Tensor, TorchNames
from attn_core.layers import EfficientMultiHeadSelfAttention
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import Block, TransformerBlock
from attn_core.models._preprocess import Preprocess


@keras.saving.register_keras_serializable(package="attn_core")
class PixelAttention(Block):
    """Multiplies each pixel by a gate of its neighbourhood, instead of a position embedding."""

    def build(self, input_shape: Shape) -> None:
        """Create the depthwise convolution."""
        channels = input_shape[-1]
        self.gate = child(
            self, Conv2D, channels, 3, shape=input_shape, groups=channels, name="gate"
        )

    def call(self, x: Tensor) -> Tensor:
        """Multiply by the gate."""
        return x * ops.sigmoid(self.gate(x))

    def torch_names(self) -> TorchNames:
        """Name the parameters as wofmanaf/ResT `PA` does."""
        return {"pa_conv": self.gate}


@keras.saving.register_keras_serializable(package="attn_core")
class ResTBlock(TransformerBlock):
    """Efficient self-attention and MLP. Names of parameters as in wofmanaf/ResT.

    Args:
        num_heads: Number of heads.
        sr_ratio: Spatial reduction of keys and values; 1 means no reduction.
        apply_transform: Whether the heads exchange their scores.
        **kwargs: As for `TransformerBlock`; `dropout` acts after the attention and in the MLP.
    """

    drops_output: ClassVar[bool] = True

    def __init__(
        self,
        num_heads: int,
        *,
        sr_ratio: int = 1,
        apply_transform: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.sr_ratio = sr_ratio
        self.apply_transform = apply_transform

    def create_mixer(self, **options: Any) -> keras.layers.Layer:
        """Return efficient self-attention, without dropout on the attention map.

        It computes in float32: its instance norm divides small differences by their own size, and
        would enlarge what half precision rounds.
        """
        if self.compute_dtype in ("float16", "bfloat16"):
            options["dtype"] = "float32"
        return EfficientMultiHeadSelfAttention(
            self.num_heads,
            sr_ratio=self.sr_ratio,
            apply_transform=self.apply_transform,
            data_format="channels_last",
            **options,
        )


@keras.saving.register_keras_serializable(package="attn_core")
class ResT(AttentionModel):
    """ResT: four stages of efficient multi-head self-attention, each halving height and width.

    The first stage begins with a stem of three convolutions, and each later stage begins with a
    strided convolution. A pixel attention follows them, instead of a position embedding. No weight
    depends on the size of the image, so one model accepts images of all sizes. Arguments "of each
    stage" are a tuple, or one value for all four stages.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        num_heads: Number of attention heads of each stage; it divides `embed_dim`.
        sr_ratio: Spatial reduction of keys and values of each stage; 1 means no reduction.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its `embed_dim`.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        apply_transform: Whether the heads exchange their scores; a single head never does.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate after the attention and in the MLPs, the authors' `drop_rate`.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W may be dynamic. Published at 224 x 224.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map, normalised,
        `(B, H / 32, W / 32, embed_dim[-1])`, sides rounded up.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = ResT((8, 16, 24, 32), depths=1, num_heads=(1, 2, 4, 4), num_classes=10)
        >>> tuple(model(np.ones((2, 64, 64, 3))).shape)
        (2, 10)
        >>> tuple(model(np.ones((2, 50, 35, 3))).shape)
        (2, 10)

    Reference:
        Zhang, Yang, "ResT: An Efficient Transformer for Visual Recognition", NeurIPS 2021,
        arXiv:2105.13677. The outputs and the names of the parameters are the same as those of
        wofmanaf/ResT `models/rest.py` `ResT`, which fails on most images whose sides are not
        multiples of 32.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "rest_lite": {},
        "rest_small": {"depths": (2, 2, 6, 2)},
        "rest_base": {"embed_dim": (96, 192, 384, 768), "depths": (2, 2, 6, 2)},
        "rest_large": {"embed_dim": (96, 192, 384, 768), "depths": (2, 2, 18, 2)},
    }

    # The authors' `datasets.py` at the time of these checkpoints. Since ResTv2 it crops by 1.0.
    PREPROCESS: ClassVar[dict[str, Preprocess]] = {name: Preprocess(224) for name in VARIANTS}

    @checked(per_stage=("embed_dim", "depths", "num_heads", "sr_ratio", "mlp_ratio"), stages=4)
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (64, 128, 256, 512),
        *,
        depths: int | tuple[int, ...] = (2, 2, 2, 2),
        num_heads: int | tuple[int, ...] = (1, 2, 4, 8),
        sr_ratio: int | tuple[int, ...] = (8, 4, 2, 1),
        mlp_ratio: float | tuple[float, ...] = 4,
        qkv_bias: bool = True,
        apply_transform: bool = True,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        checks.integer(self, "embed_dim[0]", embed_dim[0], 2)  # the stem starts with half of it
        for width, heads, ratio in zip(embed_dim, num_heads, mlp_ratio, strict=True):
            checks.divisible(self, "`embed_dim`", width, "num_heads", heads)
            checks.integer(self, "mlp_ratio * embed_dim", int(ratio * width))
        net = Graph((None, None, in_channels), **kwargs)
        x = stem(net, embed_dim[0])
        block = {"qkv_bias": qkv_bias, "apply_transform": apply_transform, "dropout": dropout}
        for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
            if stage > 0:
                x = embedding(net, x, stage, embed_dim[stage])
            block |= {"sr_ratio": sr_ratio[stage], "mlp_ratio": mlp_ratio[stage]}
            for i, rate in enumerate(rates):
                names = {"name": f"stage_{stage}_block_{i}", "torch": f"stage{stage + 1}.{i}"}
                x = net.add(ResTBlock, num_heads[stage], drop_path=rate, **names, **block)(x)
            net.stages.append(x)
        x = net.stages[-1] = net.norm(x, epsilon=1e-5)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head")
        self.finish(net, x)


def stem(net: Graph, width: int) -> Tensor:
    """Return images at a quarter of their size: three convolutions and a pixel attention."""
    x = net.images
    for i, strides in ((1, 2), (2, 1)):
        conv = {"strides": strides, "use_bias": False, "torch": f"stem.conv{i}"}
        x = net.add(Conv2D, width // 2, 3, name=f"stem_conv_{i}", **conv)(x)
        x = net.add(BatchNormalization, name=f"stem_norm_{i}", torch=f"stem.norm{i}")(x)
        x = net.add(layers.Activation, "relu", name=f"stem_relu_{i}")(x)
    last = {"strides": 2, "use_bias": False, "torch": "stem.conv3"}
    x = net.add(Conv2D, width, 3, name="stem_conv_3", **last)(x)
    return net.add(PixelAttention, name="stage_0_position", torch="stem.pos")(x)


def embedding(net: Graph, x: Tensor, stage: int, width: int) -> Tensor:
    """Return an image at half its size, for the next stage: a convolution and a pixel attention."""
    ours, theirs = f"stage_{stage}", f"patch_embed_{stage + 1}"
    x = net.add(Conv2D, width, 3, strides=2, name=f"{ours}_embedding", torch=f"{theirs}.conv")(x)
    x = net.add(BatchNormalization, name=f"{ours}_norm", torch=f"{theirs}.norm")(x)
    return net.add(PixelAttention, name=f"{ours}_position", torch=f"{theirs}.pos")(x)
