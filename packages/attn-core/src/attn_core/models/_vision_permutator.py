"""Vision Permutator: a network of weighted permute MLPs."""

from typing import Any, ClassVar, Unpack

import keras

from attn_core import _checks as checks
from attn_core._typing import KerasArguments
from attn_core.layers import WeightedPermuteMLP
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import TransformerBlock, patch_embedding
from attn_core.models._preprocess import Preprocess


@keras.saving.register_keras_serializable(package="attn_core")
class PermutatorBlock(TransformerBlock):
    """Weighted permute MLP and MLP. Names of parameters as in houqb/VisionPermutator.

    Args:
        segment_dim: Number of segments of the channels; C must be a multiple of it.
        **kwargs: As for `TransformerBlock`; `dropout` acts after the permute MLP and in the MLP.
    """

    def __init__(self, segment_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.segment_dim = segment_dim

    def create_mixer(self, **options: Any) -> keras.layers.Layer:
        """Return the weighted permute MLP."""
        return WeightedPermuteMLP(self.segment_dim, data_format="channels_last", **options)


@keras.saving.register_keras_serializable(package="attn_core")
class VisionPermutator(AttentionModel):
    """Vision Permutator: linear maps along height, width and channels instead of attention.

    Arguments "of each stage" are a tuple, or one value for all stages.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        segment_dim: Number of segments of the channels of each stage; it divides `embed_dim`.
        downsample: Whether the stage after this one has half the height and width; the last entry
            has no effect.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its `embed_dim`.
        patch_size: Side of the square patches, in pixels.
        image_size: Side of the images in pixels, or (height, width); multiples of `patch_size`,
            times 2 for each downsampling. The weights depend on it.
        qkv_bias: Whether the linear maps along height, width and channels have biases.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate after the permute MLPs and in the MLPs. The authors' blocks have this dropout
            too, but their network leaves it at 0.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map, normalized,
        `(B, H / stride, W / stride, embed_dim[-1])`, `stride` being `patch_size`, times 2 for each
        downsampling.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = VisionPermutator(
        ...     (8, 16), depths=1, segment_dim=4, downsample=(True, False), patch_size=4,
        ...     image_size=32, num_classes=10
        ... )
        >>> tuple(model(np.ones((2, 32, 32, 3))).shape)
        (2, 10)

    Reference:
        Hou, Jiang, Yuan, Cheng, Yan, Feng, "Vision Permutator: A Permutable MLP-Like Architecture
        for Visual Recognition", TPAMI 2022, arXiv:2106.12368. The outputs and the names of the
        parameters are the same as those of houqb/VisionPermutator `VisionPermutator`.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "vip_s14": {"embed_dim": 384, "segment_dim": 16, "downsample": False, "patch_size": 14},
        "vip_s7": {},
        "vip_m7": {
            "embed_dim": (256, 256, 512, 512),
            "depths": (4, 3, 14, 3),
            "segment_dim": (32, 32, 16, 16),
            "downsample": (False, True, False, False),
        },
        "vip_l7": {"embed_dim": (256, 512, 512, 512), "depths": (8, 8, 16, 4)},
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {
        name: Preprocess(224, 0.875 if name == "vip_l7" else 0.9) for name in VARIANTS
    }

    @checked(per_stage=("embed_dim", "depths", "segment_dim", "downsample", "mlp_ratio"))
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (192, 384, 384, 384),
        *,
        depths: int | tuple[int, ...] = (4, 3, 8, 3),
        segment_dim: int | tuple[int, ...] = (32, 16, 16, 16),
        downsample: bool | tuple[bool, ...] = (True, False, False, False),
        mlp_ratio: float | tuple[float, ...] = 3.0,
        patch_size: int = 7,
        image_size: int | tuple[int, int] = 224,
        qkv_bias: bool = False,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        stride = patch_size * 2 ** sum(downsample[:-1])
        for side in image_size:
            checks.divisible(self, "`image_size`", side, "the total stride", stride)
        for width, segments in zip(embed_dim, segment_dim, strict=True):
            checks.divisible(self, "`embed_dim`", width, "segment_dim", segments)
        net = Graph((*image_size, in_channels), **kwargs)
        patches = {"name": "patch_embedding", "torch": "patch_embed.proj"}
        x = net.add(patch_embedding, embed_dim[0], patch_size, **patches)(net.images)
        options = {"qkv_bias": qkv_bias, "dropout": dropout}
        place = 0  # the authors' list contains both stages and downsamplings
        for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
            for i, rate in enumerate(rates):
                names = {"name": f"stage_{stage}_block_{i}", "torch": f"network.{place}.{i}"}
                block = {"mlp_ratio": mlp_ratio[stage], "drop_path": rate, **options}
                x = net.add(PermutatorBlock, segment_dim[stage], **names, **block)(x)
            net.stages.append(x)
            place += 1
            width = embed_dim[stage + 1] if stage < len(embed_dim) - 1 else None
            if width and (downsample[stage] or width != embed_dim[stage]):
                names = {"name": f"downsample_{stage}", "torch": f"network.{place}.proj"}
                x = net.add(patch_embedding, width, 2 if downsample[stage] else 1, **names)(x)
                place += 1
        x = net.stages[-1] = net.norm(x, epsilon=1e-5)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head")
        self.finish(net, x)
