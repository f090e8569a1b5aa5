"""MobileViT: inverted residuals, then transformers over the whole image."""

from typing import Any, ClassVar, Unpack

import keras

from attn_core import _checks as checks
from attn_core._typing import KerasArguments
from attn_core.layers import MobileViTBlock
from attn_core.layers.blocks._parts import ConvNorm
from attn_core.models._arguments import checked, integers, one_or_pair
from attn_core.models._base import AttentionModel, Graph
from attn_core.models._mobile_parts import stem_and_stages
from attn_core.models._preprocess import Preprocess


@keras.saving.register_keras_serializable(package="attn_core")
class MobileViT(AttentionModel):
    """MobileViT: a small convolutional network with `MobileViTBlock`s in its last three stages.

    It consists of a strided convolution, two stages of inverted residuals, three stages of one
    inverted residual and one MobileViT block, and a 1x1 convolution. All stages except the first
    halve height and width. No weight depends on the size of the image, so one model accepts images
    of all sizes.

    Args:
        embed_dim: Width of the transformers, in each of the last three stages.
        depths: Number of transformer layers, in each of the last three stages.
        filters: Number of channels of each of the five stages.
        conv_depths: Number of inverted residuals in each of the first two stages.
        stem_width: Number of channels of the first convolution.
        expansion: Hidden width of the inverted residuals, as a multiple of their input channels.
        num_heads: Number of attention heads, in each of the last three stages; divides `embed_dim`.
        mlp_ratio: Hidden width of the transformers' dense layers, as a multiple of `embed_dim`.
        patch_size: Height and width of a patch of the MobileViT blocks, an integer or a pair.
        kernel_size: Odd size of the convolutions in these blocks, an integer or a pair.
        last_expansion: Width of the last convolution, as a multiple of `filters[-1]`; at most 960
            channels.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate in the transformers, after attention and dense layers, and before the
            classifier (the authors' `mit.dropout` and `classifier_dropout`, both 0.1 in training).
        drop_path: Rate of stochastic depth in the last inverted residual that adds its input,
            rising to it from 0; such residuals are only in the first two stages. The authors do
            not use it.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W may be dynamic. Published at 256 x 256.

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
        Transformer", ICLR 2022, arXiv:2110.02178. The outputs and the names of the parameters are
        the same as those of apple/ml-cvnets `MobileViT`; timm's names are accepted too. The outputs
        differ only at image sizes at which its `LayerNorm` normalises over the tokens (see
        `MobileViTBlock`); 256 x 256 is not one of them.
    """

    TOP = ("classifier", "head")

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "mobilevit_xxs": {
            "embed_dim": (64, 80, 96),
            "filters": (16, 24, 48, 64, 80),
            "expansion": 2,
        },
        "mobilevit_xs": {"embed_dim": (96, 120, 144), "filters": (32, 48, 64, 80, 96)},
        "mobilevit_s": {},
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {
        name: Preprocess(256, 0.9, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)) for name in VARIANTS
    }

    @checked(
        per_stage=("embed_dim", "depths", "num_heads", "mlp_ratio"),
        stages=3,
        filters=integers(5),
        conv_depths=integers(2),
        patch_size=one_or_pair(checks.integer),
        kernel_size=one_or_pair(checks.odd),
    )
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
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        options = {"patch_size": patch_size, "kernel_size": kernel_size, "dropout": dropout}
        attentions = []
        for width, depth, heads, ratio in zip(embed_dim, depths, num_heads, mlp_ratio, strict=True):
            head_dim = checks.divisible(self, "`embed_dim`", width, "num_heads", heads)
            ffn_dim = checks.integer(self, "mlp_ratio * embed_dim", int(ratio * width))
            sizes = {"ffn_dim": ffn_dim, "num_blocks": depth, "head_dim": head_dim}
            attentions.append((MobileViTBlock, width, {**sizes, **options}))
        net = Graph((None, None, in_channels), **kwargs)
        x = stem_and_stages(
            net,
            attentions,
            filters=filters,
            conv_depths=conv_depths,
            stem_width=stem_width,
            expansion=expansion,
            drop_path=drop_path,
        )
        width = min(last_expansion * filters[-1], 960)
        last = {"torch": "conv_1x1_exp", "timm": "final_conv"}
        x = net.stages[-1] = net.add(ConvNorm, width, name="last", **last)(x)
        if include_top:
            names = {"torch": "classifier.fc", "timm": "head.fc"}
            x = net.classify(net.pool(x), num_classes, dropout=dropout, **names)
        self.finish(net, x)
