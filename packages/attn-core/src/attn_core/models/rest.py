"""ResT: a vision transformer of four stages whose keys and values come from smaller images."""

from typing import ClassVar

import keras
from keras import layers, ops

from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.layers.tokens.emsa import EfficientMultiHeadSelfAttention
from attn_core.models.base import AttentionModel, Block, TransformerBlock, drop_path_rates


@keras.saving.register_keras_serializable(package="attn_core")
class PixelAttention(Block):
    """Weighs every pixel and channel by its neighbourhood; stands in for a position embedding."""

    def build(self, input_shape):
        """Create the depthwise convolution."""
        channels = input_shape[-1]
        self.gate = Conv2D(channels, 3, groups=channels, name="gate", dtype=self.dtype_policy)
        self.gate.build(input_shape)

    def call(self, x):
        """Multiply by the gate."""
        return x * ops.sigmoid(self.gate(x))

    def torch_names(self) -> dict:
        """Name the parameters as wofmanaf/ResT `PA` does."""
        return {"pa_conv": self.gate}


@keras.saving.register_keras_serializable(package="attn_core")
class ResTBlock(TransformerBlock):
    """Efficient self-attention and MLP. Names of parameters as wofmanaf/ResT.

    Args:
        num_heads: Number of heads.
        sr_ratio: Spatial reduction of keys and values; 1 = none.
        apply_transform: Whether the heads exchange their scores.
        **kwargs: As for `TransformerBlock`; `dropout` acts after the attention and in the MLP.
    """

    def __init__(
        self, num_heads: int, *, sr_ratio: int = 1, apply_transform: bool = True, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.sr_ratio = sr_ratio
        self.apply_transform = apply_transform

    def create_mixer(self, *, dropout, **options):
        """Return efficient self-attention, without dropout on its map."""
        return EfficientMultiHeadSelfAttention(
            self.num_heads,
            sr_ratio=self.sr_ratio,
            apply_transform=self.apply_transform,
            data_format="channels_last",
            **options,
        )

    def build(self, input_shape):
        """Create the parts, and the dropout after the attention."""
        super().build(input_shape)
        self.drop = layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)

    def mix(self, x, training):
        """Attend, then drop."""
        return self.drop(super().mix(x, training), training=training)


@keras.saving.register_keras_serializable(package="attn_core")
class ResT(AttentionModel):
    """ResT: four stages of efficient multi-head self-attention, each at half the last one's size.

    A stem of three convolutions, and a strided convolution before each later stage, end in a pixel
    attention in place of a position embedding. No weight depends on the image's size, so one model
    takes images of all sizes. What is "of each stage" is a tuple, or one value for all four.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        num_heads: Number of attention heads of each stage; divides `embed_dim`.
        sr_ratio: Spatial reduction of keys and values of each stage; 1 = none.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its `embed_dim`.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        apply_transform: Whether the heads exchange their scores; where there is one, they do not.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate after the attention and in the MLPs, the authors' `drop_rate`.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, 3)`; H and W may be dynamic. Published at 224 x 224.

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
        arXiv:2105.13677; numbers and names as wofmanaf/ResT `models/rest.py` `ResT`, which fails on
        most images whose sides do not divide by 32.
    """

    VARIANTS: ClassVar = {
        "rest_lite": {},
        "rest_small": {"depths": (2, 2, 6, 2)},
        "rest_base": {"embed_dim": (96, 192, 384, 768), "depths": (2, 2, 6, 2)},
        "rest_large": {"embed_dim": (96, 192, 384, 768), "depths": (2, 2, 18, 2)},
    }

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
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        widths = self.per_stage("embed_dim", embed_dim, 4, self.integer)
        counts = self.per_stage("depths", depths, 4, self.integer)
        heads = self.per_stage("num_heads", num_heads, 4, self.integer)
        reductions = self.per_stage("sr_ratio", sr_ratio, 4, self.integer)
        ratios = self.per_stage("mlp_ratio", mlp_ratio, 4, self.positive)
        config = {
            "embed_dim": widths,
            "depths": counts,
            "num_heads": heads,
            "sr_ratio": reductions,
            "mlp_ratio": ratios,
            "qkv_bias": self.flag("qkv_bias", qkv_bias),
            "apply_transform": self.flag("apply_transform", apply_transform),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        self.integer("embed_dim[0]", widths[0], 2)  # the stem starts at half of it
        for width, number, ratio in zip(widths, heads, ratios, strict=True):
            self.divisible("`embed_dim`", width, "num_heads", number)
            self.integer("mlp_ratio * embed_dim", int(ratio * width))
        dtype = kwargs.pop("dtype", None)

        x = images = keras.Input((None, None, 3))
        names, stem = {}, {"use_bias": False, "dtype": dtype}
        for i, strides in ((1, 2), (2, 1)):
            conv = Conv2D(widths[0] // 2, 3, strides=strides, name=f"stem_conv_{i}", **stem)
            norm = BatchNormalization(name=f"stem_norm_{i}", dtype=dtype)
            x = layers.Activation("relu", name=f"stem_relu_{i}", dtype=dtype)(norm(conv(x)))
            names |= {f"stem.conv{i}": conv, f"stem.norm{i}": norm}
        conv = Conv2D(widths[0], 3, strides=2, name="stem_conv_3", **stem)
        position = PixelAttention(name="stage_0_position", dtype=dtype)
        x = position(conv(x))
        names |= {"stem.conv3": conv, "stem.pos": position}

        stages = []
        for stage, rates in enumerate(drop_path_rates(drop_path, counts)):
            if stage > 0:
                conv = Conv2D(
                    widths[stage], 3, strides=2, name=f"stage_{stage}_embedding", dtype=dtype
                )
                norm = BatchNormalization(name=f"stage_{stage}_norm", dtype=dtype)
                position = PixelAttention(name=f"stage_{stage}_position", dtype=dtype)
                x = position(norm(conv(x)))
                embed = f"patch_embed_{stage + 1}"
                names |= {f"{embed}.conv": conv, f"{embed}.norm": norm, f"{embed}.pos": position}
            blocks = []
            for i, rate in enumerate(rates):
                block = ResTBlock(
                    heads[stage],
                    sr_ratio=reductions[stage],
                    mlp_ratio=ratios[stage],
                    qkv_bias=qkv_bias,
                    apply_transform=apply_transform,
                    dropout=dropout,
                    drop_path=rate,
                    name=f"stage_{stage}_block_{i}",
                    dtype=dtype,
                )
                x = block(x)
                blocks.append(block)
            names[f"stage{stage + 1}"] = blocks
            stages.append(x)
        norm = layers.LayerNormalization(epsilon=1e-5, name="norm", dtype=dtype)
        x = stages[-1] = norm(x)
        names["norm"] = norm
        if include_top:
            pool = layers.GlobalAveragePooling2D(
                data_format="channels_last", name="pool", dtype=dtype
            )
            names["head"] = layers.Dense(num_classes, name="head", dtype=dtype)
            x = names["head"](pool(x))
        self.finish(images, x, config, names, stages, dtype, **kwargs)
