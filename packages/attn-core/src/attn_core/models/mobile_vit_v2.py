"""MobileViTv2: inverted residuals, then separable self-attention over the whole image."""

from typing import ClassVar

import keras
from keras import layers

from attn_core.layers.blocks.mobile_vit_v2 import MobileViTv2Block
from attn_core.layers.blocks.parts import one_or_pair
from attn_core.models.base import AttentionModel
from attn_core.models.mobile_parts import five_stages


def _scaled(width: float) -> dict:
    """Return the arguments of a variant by its width; no product needs the authors' rounding."""
    return {
        "embed_dim": tuple(int(width * channels) for channels in (128, 192, 256)),
        "filters": tuple(int(width * channels) for channels in (64, 128, 256, 384, 512)),
        "stem_width": int(width * 32),
    }


@keras.saving.register_keras_serializable(package="attn_core")
class MobileViTv2(AttentionModel):
    """MobileViTv2: a small convolutional network whose last stages hold `MobileViTv2Block`s.

    A strided convolution, two stages of inverted residuals, and three of one inverted residual and
    one MobileViTv2 block. All stages but the first halve height and width. No weight depends on the
    image's size, so one model takes images of all sizes.

    Args:
        embed_dim: Width of the transformers, in each of the last three stages.
        depths: Number of transformer layers, in each of these.
        filters: Number of channels of each of the five stages.
        conv_depths: Number of inverted residuals in each of the first two stages.
        stem_width: Number of channels of the first convolution.
        expansion: Hidden width of the inverted residuals, as a multiple of their input's.
        mlp_ratio: Hidden width of the transformers' dense layers, as a multiple of `embed_dim`;
            the product is rounded down to a multiple of 16.
        patch_size: Height and width of a patch of the MobileViTv2 blocks, an integer or a pair.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate in the transformers, after attention and dense layers (the authors'
            `mitv2.dropout`); there is none before the classifier.
        drop_path: Rate of stochastic depth in the last inverted residual that adds its input,
            rising to it from 0; these are in the first two stages. The authors have none.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, 3)`; H and W may be dynamic. Published at 256 x 256.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, filters[-1])`, sides rounded up to multiples of the patch.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = MobileViTv2((8, 8, 16), depths=1, filters=(8, 8, 16, 16, 16), num_classes=10)
        >>> tuple(model(np.ones((2, 64, 64, 3))).shape)
        (2, 10)
        >>> tuple(model(np.ones((2, 32, 96, 3))).shape)
        (2, 10)

    Reference:
        Mehta, Rastegari, "Separable Self-attention for Mobile Vision Transformers", TMLR 2023,
        arXiv:2206.02680; numbers and names as apple/ml-cvnets `MobileViTv2`.
    """

    VARIANTS: ClassVar = {
        f"mobilevitv2_{percent:03}": _scaled(percent / 100)
        for percent in (50, 75, 100, 125, 150, 175, 200)
    }

    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (128, 192, 256),
        *,
        depths: int | tuple[int, ...] = (2, 4, 3),
        filters: tuple[int, ...] = (64, 128, 256, 384, 512),
        conv_depths: tuple[int, int] = (1, 2),
        stem_width: int = 32,
        expansion: float = 2,
        mlp_ratio: float | tuple[float, ...] = 2.0,
        patch_size: int | tuple[int, int] = 2,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        per_stage = {
            "embed_dim": self.per_stage("embed_dim", embed_dim, 3, self.integer),
            "depths": self.per_stage("depths", depths, 3, self.integer),
            "mlp_ratio": self.per_stage("mlp_ratio", mlp_ratio, 3, self.positive),
        }
        config = {
            **per_stage,
            "filters": self.sequence("filters", filters, self.integer, 5),
            "conv_depths": self.sequence("conv_depths", conv_depths, self.integer, 2),
            "stem_width": self.integer("stem_width", stem_width),
            "expansion": self.positive("expansion", expansion),
            "patch_size": one_or_pair(self, "patch_size", patch_size, self.integer),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        dtype = kwargs.pop("dtype", None)

        blocks = [
            MobileViTv2Block(
                width,
                ffn_dim=self.integer("mlp_ratio * embed_dim", int(ratio * width), 16) // 16 * 16,
                num_blocks=depth,
                patch_size=config["patch_size"],
                dropout=dropout,
                data_format="channels_last",
                name=f"stage_{stage}_attention",
                dtype=dtype,
            )
            for stage, (width, depth, ratio) in enumerate(
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
        x = stages[-1]
        if include_top:
            x = layers.GlobalAveragePooling2D(
                data_format="channels_last", name="pool", dtype=dtype
            )(x)
            names["classifier.1"] = layers.Dense(num_classes, name="head", dtype=dtype)
            x = names["classifier.1"](x)
        self.finish(images, x, config, names, stages, dtype, **kwargs)
