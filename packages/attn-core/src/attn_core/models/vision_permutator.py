"""Vision Permutator: a network of weighted permute MLPs."""

from typing import ClassVar

import keras
from keras import layers

from attn_core.layers.mixers.permute_mlp import WeightedPermuteMLP
from attn_core.models.base import (
    AttentionModel,
    TransformerBlock,
    drop_path_rates,
    patch_embedding,
)


@keras.saving.register_keras_serializable(package="attn_core")
class PermutatorBlock(TransformerBlock):
    """Weighted permute MLP and MLP. Names of parameters as houqb/VisionPermutator.

    Args:
        segment_dim: Number of segments of the channels; C must be a multiple of it.
        **kwargs: As for `TransformerBlock`; `dropout` acts after the permute MLP and in the MLP.
    """

    def __init__(self, segment_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.segment_dim = segment_dim

    def create_mixer(self, **options):
        """Return the weighted permute MLP."""
        return WeightedPermuteMLP(self.segment_dim, data_format="channels_last", **options)


@keras.saving.register_keras_serializable(package="attn_core")
class VisionPermutator(AttentionModel):
    """Vision Permutator: linear maps along height, width and channels in place of attention.

    What is "of each stage" is a tuple, or one value for all of them.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        segment_dim: Number of segments of the channels of each stage; divides `embed_dim`.
        downsample: Whether each stage is followed by one of half its height and width; after the
            last, where none follows, it means nothing.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its `embed_dim`.
        patch_size: Side of the square patches, in pixels.
        image_size: Side of the square images, in pixels; a multiple of `patch_size`, times 2 for
            each downsampling. The weights depend on it.
        qkv_bias: Whether the linear maps along height, width and channels have biases.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate after the permute MLPs and in the MLPs, where the authors' blocks have a
            dropout that their network leaves at 0.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, image_size, image_size, 3)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map, normalized,
        `(B, image_size // stride, image_size // stride, embed_dim[-1])`, `stride` being
        `patch_size`, times 2 for each downsampling.

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
        for Visual Recognition", TPAMI 2022, arXiv:2106.12368; numbers and names as
        houqb/VisionPermutator `VisionPermutator`.
    """

    VARIANTS: ClassVar = {
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

    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (192, 384, 384, 384),
        *,
        depths: int | tuple[int, ...] = (4, 3, 8, 3),
        segment_dim: int | tuple[int, ...] = (32, 16, 16, 16),
        downsample: bool | tuple[bool, ...] = (True, False, False, False),
        mlp_ratio: float | tuple[float, ...] = 3.0,
        patch_size: int = 7,
        image_size: int = 224,
        qkv_bias: bool = False,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        given = (embed_dim, depths, segment_dim, downsample, mlp_ratio)
        count = next((len(value) for value in given if isinstance(value, (list, tuple))), 1)
        widths = self.per_stage("embed_dim", embed_dim, count, self.integer)
        counts = self.per_stage("depths", depths, count, self.integer)
        segments = self.per_stage("segment_dim", segment_dim, count, self.integer)
        halves = self.per_stage("downsample", downsample, count, self.flag)
        ratios = self.per_stage("mlp_ratio", mlp_ratio, count, self.positive)
        config = {
            "embed_dim": widths,
            "depths": counts,
            "segment_dim": segments,
            "downsample": halves,
            "mlp_ratio": ratios,
            "patch_size": self.integer("patch_size", patch_size),
            "image_size": self.integer("image_size", image_size),
            "qkv_bias": self.flag("qkv_bias", qkv_bias),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        stride = patch_size * 2 ** sum(halves[:-1])
        self.divisible("`image_size`", image_size, "the total stride", stride)
        for width, number in zip(widths, segments, strict=True):
            self.divisible("`embed_dim`", width, "segment_dim", number)
        dtype = kwargs.pop("dtype", None)

        images = keras.Input((image_size, image_size, 3))
        embed = patch_embedding(widths[0], patch_size, name="patch_embedding", dtype=dtype)
        x = embed(images)
        network, stages = {}, []  # the authors number stages and downsamplings in one list
        for stage, rates in enumerate(drop_path_rates(drop_path, counts)):
            blocks = []
            for i, rate in enumerate(rates):
                block = PermutatorBlock(
                    segments[stage],
                    mlp_ratio=ratios[stage],
                    qkv_bias=qkv_bias,
                    dropout=dropout,
                    drop_path=rate,
                    name=f"stage_{stage}_block_{i}",
                    dtype=dtype,
                )
                x = block(x)
                blocks.append(block)
            network[f"network.{len(network)}"] = blocks
            stages.append(x)
            last = stage == count - 1
            if not last and (halves[stage] or widths[stage] != widths[stage + 1]):
                size = 2 if halves[stage] else 1
                project = patch_embedding(
                    widths[stage + 1], size, name=f"downsample_{stage}", dtype=dtype
                )
                x = project(x)
                network[f"network.{len(network)}.proj"] = project
        norm = layers.LayerNormalization(epsilon=1e-5, name="norm", dtype=dtype)
        x = stages[-1] = norm(x)
        names = {"patch_embed.proj": embed, **network, "norm": norm}
        if include_top:
            pool = layers.GlobalAveragePooling2D(
                data_format="channels_last", name="pool", dtype=dtype
            )
            names["head"] = layers.Dense(num_classes, name="head", dtype=dtype)
            x = names["head"](pool(x))
        self.finish(images, x, config, names, stages, dtype, **kwargs)
