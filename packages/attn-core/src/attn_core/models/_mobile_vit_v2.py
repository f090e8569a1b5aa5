"""MobileViTv2: inverted residuals, then separable self-attention over the whole image."""

from typing import Any, ClassVar, Unpack

import keras

from attn_core import _checks as checks
from attn_core._typing import KerasArguments
from attn_core.layers import MobileViTv2Block
from attn_core.models._arguments import checked, integers, one_or_pair
from attn_core.models._base import AttentionModel, Graph
from attn_core.models._mobile_parts import stem_and_stages
from attn_core.models._preprocess import Preprocess


def _scaled(width: float) -> dict[str, Any]:
    """Return the arguments of a variant by its width; the authors' rounding changes none."""
    return {
        "embed_dim": tuple(int(width * channels) for channels in (128, 192, 256)),
        "filters": tuple(int(width * channels) for channels in (64, 128, 256, 384, 512)),
        "stem_width": int(width * 32),
    }


@keras.saving.register_keras_serializable(package="attn_core")
class MobileViTv2(AttentionModel):
    """MobileViTv2: a small convolutional network with `MobileViTv2Block`s in its last stages.

    It consists of a strided convolution, two stages of inverted residuals, and three stages of one
    inverted residual and one MobileViTv2 block. All stages except the first halve height and width.
    No weight depends on the size of the image, so one model accepts images of all sizes.

    Args:
        embed_dim: Width of the transformers, in each of the last three stages.
        depths: Number of transformer layers, in each of the last three stages.
        filters: Number of channels of each of the five stages.
        conv_depths: Number of inverted residuals in each of the first two stages.
        stem_width: Number of channels of the first convolution.
        expansion: Hidden width of the inverted residuals, as a multiple of their input channels.
        mlp_ratio: Hidden width of the transformers' dense layers, as a multiple of `embed_dim`;
            the product is rounded down to a multiple of 16.
        patch_size: Height and width of a patch of the MobileViTv2 blocks, an integer or a pair.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate in the transformers, after attention and dense layers (the authors'
            `mitv2.dropout`); there is no dropout before the classifier.
        drop_path: Rate of stochastic depth in the last inverted residual that adds its input,
            rising to it from 0; such residuals are only in the first two stages. The authors do
            not use it.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W may be dynamic. Published at 256 x 256.

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
        arXiv:2206.02680. The outputs and the names of the parameters are the same as those of
        apple/ml-cvnets `MobileViTv2`; timm's names are accepted too.
    """

    TOP = ("classifier", "head")

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        f"mobilevitv2_{percent:03}": _scaled(percent / 100)
        for percent in (50, 75, 100, 125, 150, 175, 200)
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {
        name: Preprocess(256, 0.888, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)) for name in VARIANTS
    }

    @checked(
        per_stage=("embed_dim", "depths", "mlp_ratio"),
        stages=3,
        filters=integers(5),
        conv_depths=integers(2),
        patch_size=one_or_pair(checks.integer),
    )
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
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        attentions = []
        for width, depth, ratio in zip(embed_dim, depths, mlp_ratio, strict=True):
            hidden = checks.integer(self, "mlp_ratio * embed_dim", int(ratio * width), 16)
            sizes = {"ffn_dim": hidden // 16 * 16, "num_blocks": depth, "patch_size": patch_size}
            attentions.append((MobileViTv2Block, width, {**sizes, "dropout": dropout}))
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
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="classifier.1", timm="head.fc")
        self.finish(net, x)
