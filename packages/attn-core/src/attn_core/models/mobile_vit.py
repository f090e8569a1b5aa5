"""MobileViT: inverted residuals, then transformers over the whole image."""

from typing import ClassVar

import keras
from keras import layers

from attn_core.layers.blocks.mobile_vit import MobileViTBlock
from attn_core.layers.blocks.parts import ConvNorm, one_or_pair
from attn_core.models.base import AttentionModel
from attn_core.models.mobile_parts import five_stages


@keras.saving.register_keras_serializable(package="attn_core")
class MobileViT(AttentionModel):
    """MobileViT: a small convolutional network whose last three stages hold `MobileViTBlock`s.

    A strided convolution, two stages of inverted residuals, three of one inverted residual and one
    MobileViT block, and a 1x1 convolution. All stages but the first halve height and width. No
    weight depends on the image's size, so one model takes images of all sizes.

    Args:
        embed_dim: Width of the transformers, in each of the last three stages.
        depths: Number of transformer layers, in each of these.
        filters: Number of channels of each of the five stages.
        conv_depths: Number of inverted residuals in each of the first two stages.
        stem_width: Number of channels of the first convolution.
        expansion: Hidden width of the inverted residuals, as a multiple of their input's.
        num_heads: Number of attention heads, in each of the last three stages; divides `embed_dim`.
        mlp_ratio: Hidden width of the transformers' dense layers, as a multiple of `embed_dim`.
        patch_size: Height and width of a patch of the MobileViT blocks, an integer or a pair.
        kernel_size: Odd size of their convolutions, an integer or a pair.
        last_expansion: Width of the last convolution, as a multiple of `filters[-1]`; at most 960
            channels.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate in the transformers, after attention and dense layers, and before the
            classifier (the authors' `mit.dropout` and `classifier_dropout`, both 0.1 in training).
        drop_path: Rate of stochastic depth in the last inverted residual that adds its input,
            rising to it from 0; these are in the first two stages. The authors have none.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, 3)`; H and W may be dynamic. Published at 256 x 256.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, last_expansion * filters[-1])`, sides rounded up.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = MobileViT((16, 16, 24), depths=1, filters=(8, 8, 16, 16, 16), num_classes=10)
        >>> tuple(model(np.ones((2, 64, 64, 3))).shape)
        (2, 10)
        >>> tuple(model(np.ones((2, 32, 96, 3))).shape)
        (2, 10)

    Reference:
        Mehta, Rastegari, "MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision
        Transformer", ICLR 2022, arXiv:2110.02178; numbers and names as apple/ml-cvnets `MobileViT`,
        but for image sizes at which its `LayerNorm` mistakes tokens for channels (`MobileViTBlock`
        says when), 256 x 256 not among them.
    """

    VARIANTS: ClassVar = {
        "mobilevit_xxs": {
            "embed_dim": (64, 80, 96),
            "filters": (16, 24, 48, 64, 80),
            "expansion": 2,
        },
        "mobilevit_xs": {"embed_dim": (96, 120, 144), "filters": (32, 48, 64, 80, 96)},
        "mobilevit_s": {},
    }

    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (144, 192, 240),
        *,
        depths: int | tuple[int, ...] = (2, 4, 3),
        filters: tuple[int, ...] = (32, 64, 96, 128, 160),
        conv_depths: tuple[int, int] = (1, 3),
        stem_width: int = 16,
        expansion: float = 4,
        num_heads: int | tuple[int, ...] = 4,
        mlp_ratio: float | tuple[float, ...] = 2.0,
        patch_size: int | tuple[int, int] = 2,
        kernel_size: int | tuple[int, int] = 3,
        last_expansion: int = 4,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        per_stage = {
            "embed_dim": self.per_stage("embed_dim", embed_dim, 3, self.integer),
            "depths": self.per_stage("depths", depths, 3, self.integer),
            "num_heads": self.per_stage("num_heads", num_heads, 3, self.integer),
            "mlp_ratio": self.per_stage("mlp_ratio", mlp_ratio, 3, self.positive),
        }
        config = {
            **per_stage,
            "filters": self.sequence("filters", filters, self.integer, 5),
            "conv_depths": self.sequence("conv_depths", conv_depths, self.integer, 2),
            "stem_width": self.integer("stem_width", stem_width),
            "expansion": self.positive("expansion", expansion),
            "patch_size": one_or_pair(self, "patch_size", patch_size, self.integer),
            "kernel_size": one_or_pair(self, "kernel_size", kernel_size, self.odd),
            "last_expansion": self.integer("last_expansion", last_expansion),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        dtype = kwargs.pop("dtype", None)

        blocks = [
            MobileViTBlock(
                width,
                ffn_dim=self.integer("mlp_ratio * embed_dim", int(ratio * width)),
                num_blocks=depth,
                head_dim=self.divisible("`embed_dim`", width, "num_heads", heads),
                patch_size=config["patch_size"],
                kernel_size=config["kernel_size"],
                dropout=dropout,
                data_format="channels_last",
                name=f"stage_{stage}_attention",
                dtype=dtype,
            )
            for stage, (width, depth, heads, ratio) in enumerate(
                zip(*per_stage.values(), strict=True), start=2
            )
        ]
        images = keras.Input((None, None, 3))
        stages, names = five_stages(
            images,
            blocks,
            filters=filters,
            conv_depths=conv_depths,
            stem_width=stem_width,
            expansion=expansion,
            drop_path=drop_path,
            dtype=dtype,
        )
        last = ConvNorm(min(last_expansion * filters[-1], 960), name="last", dtype=dtype)
        x = stages[-1] = last(stages[-1])
        names["conv_1x1_exp"] = last
        if include_top:
            x = layers.GlobalAveragePooling2D(
                data_format="channels_last", name="pool", dtype=dtype
            )(x)
            x = layers.Dropout(dropout, name="head_dropout", dtype=dtype)(x)
            names["classifier.fc"] = layers.Dense(num_classes, name="head", dtype=dtype)
            x = names["classifier.fc"](x)
        self.finish(images, x, config, names, stages, dtype, **kwargs)
