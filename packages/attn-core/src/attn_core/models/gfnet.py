"""GFNet and its pyramid: networks of global filters."""

from typing import ClassVar

import keras
from keras import layers, ops

from attn_core.layers.mixers.global_filter import GlobalFilter
from attn_core.models.base import (
    MLP,
    AttentionModel,
    Block,
    PositionEmbedding,
    drop_path_rates,
    patch_embedding,
    stochastic_depth,
)


@keras.saving.register_keras_serializable(package="attn_core")
class GFNetBlock(Block):
    """Norm, global filter, norm and MLP behind one residual connection.

    Args:
        mlp_ratio: Width of the MLP, as a multiple of C.
        dropout: Rate in the MLP.
        drop_path: Rate of stochastic depth.
        layer_scale: Initial value of the learned scale of the branch, `None` for no scale.
        **kwargs: Keras' own layer arguments.
    """

    filter_class = GlobalFilter

    def __init__(
        self,
        *,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.drop_path = drop_path
        self.layer_scale = layer_scale

    def build(self, input_shape):
        """Create the filter, the MLP and their norms."""
        channels, dtype = input_shape[-1], self.dtype_policy
        self.filter_norm = layers.LayerNormalization(epsilon=1e-6, name="filter_norm", dtype=dtype)
        self.filter = self.filter_class(data_format="channels_last", name="filter", dtype=dtype)
        self.mlp_norm = layers.LayerNormalization(epsilon=1e-6, name="mlp_norm", dtype=dtype)
        self.mlp = MLP(
            int(channels * self.mlp_ratio), dropout=self.dropout, name="mlp", dtype=dtype
        )
        self.stochastic_depth = stochastic_depth(self.drop_path, dtype=dtype)
        for layer in (self.filter_norm, self.filter, self.mlp_norm, self.mlp):
            layer.build(input_shape)
        self.scale = None
        if self.layer_scale is not None:
            scale = keras.initializers.Constant(self.layer_scale)
            self.scale = self.add_weight(shape=(channels,), initializer=scale, name="scale")

    def call(self, x, training=None):
        """Add the filtered and mixed image."""
        branch = self.filter(self.filter_norm(x))
        branch = self.mlp(self.mlp_norm(branch), training=training)
        if self.scale is not None:
            branch = branch * ops.cast(self.scale, branch.dtype)
        return x + self.stochastic_depth(branch, training=training)

    def torch_names(self) -> dict:
        """Name the parameters as raoyongming/GFNet does."""
        names = {
            "norm1": self.filter_norm,
            "filter": self.filter,
            "norm2": self.mlp_norm,
            "mlp": self.mlp,
        }
        return names if self.scale is None else {"gamma": self.scale, **names}


@keras.saving.register_keras_serializable(package="attn_core")
class GFNet(AttentionModel):
    """GFNet: a vision transformer whose attention is a global filter.

    Args:
        embed_dim: Number of channels.
        depths: Number of blocks.
        mlp_ratio: Width of the MLPs, as a multiple of `embed_dim`.
        patch_size: Side of the square patches, in pixels.
        image_size: Side of the square images, in pixels; a multiple of `patch_size`.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate after the position embedding and in the MLPs.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, image_size, image_size, 3)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, image_size // patch_size, image_size // patch_size, embed_dim)`.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = GFNet(16, depths=1, patch_size=4, image_size=16, num_classes=10)
        >>> tuple(model(np.ones((2, 16, 16, 3))).shape)
        (2, 10)

    Reference:
        Rao, Zhao, Zhu, Lu, Zhou, "Global Filter Networks for Image Classification", NeurIPS 2021,
        arXiv:2107.00645; numbers and names as raoyongming/GFNet `GFNet`.
    """

    VARIANTS: ClassVar = {
        "gfnet_ti": {"embed_dim": 256},
        "gfnet_xs": {"embed_dim": 384},
        "gfnet_s": {"embed_dim": 384, "depths": 19},
        "gfnet_b": {"embed_dim": 512, "depths": 19},
    }
    block_class = GFNetBlock

    def __init__(
        self,
        embed_dim: int = 384,
        *,
        depths: int = 12,
        mlp_ratio: float = 4.0,
        patch_size: int = 16,
        image_size: int = 224,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        config = {
            "embed_dim": self.integer("embed_dim", embed_dim),
            "depths": self.integer("depths", depths),
            "mlp_ratio": self.positive("mlp_ratio", mlp_ratio),
            "patch_size": self.integer("patch_size", patch_size),
            "image_size": self.integer("image_size", image_size),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        self.divisible("`image_size`", image_size, "patch_size", patch_size)
        dtype = kwargs.pop("dtype", None)

        images = keras.Input((image_size, image_size, 3))
        embed = patch_embedding(embed_dim, patch_size, name="patch_embedding", dtype=dtype)
        position = PositionEmbedding(name="position", dtype=dtype)
        x = position(embed(images))
        x = layers.Dropout(dropout, name="position_dropout", dtype=dtype)(x)
        blocks = []
        for i, rate in enumerate(drop_path_rates(drop_path, [depths])[0]):
            options = {"mlp_ratio": mlp_ratio, "dropout": dropout, "drop_path": rate}
            blocks.append(self.block_class(**options, name=f"block_{i}", dtype=dtype))
            x = blocks[-1](x)
        norm = layers.LayerNormalization(epsilon=1e-6, name="norm", dtype=dtype)
        x = features = norm(x)
        names = {
            "pos_embed": position,
            "patch_embed.proj": embed,
            "blocks": blocks,
            "norm": norm,
        }
        if include_top:
            x = layers.GlobalAveragePooling2D(
                data_format="channels_last", name="pool", dtype=dtype
            )(x)
            names["head"] = layers.Dense(num_classes, name="head", dtype=dtype)
            x = names["head"](x)
        self.finish(images, x, config, names, [features], dtype, **kwargs)


@keras.saving.register_keras_serializable(package="attn_core")
class GFNetPyramid(AttentionModel):
    """GFNet in four stages, each at half the resolution and of more channels than the last.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its channels.
        image_size: Side of the square images, in pixels; a multiple of 32.
        layer_scale: Initial value of the learned scale of each branch; `None` for no scales.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate in the MLPs.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, image_size, image_size, 3)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, image_size // 32, image_size // 32, embed_dim[-1])`.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = GFNetPyramid((8, 8, 16, 16), depths=1, image_size=32, num_classes=10)
        >>> tuple(model(np.ones((2, 32, 32, 3))).shape)
        (2, 10)

    Reference:
        Rao, Zhao, Zhu, Lu, Zhou, "Global Filter Networks for Image Classification", NeurIPS 2021,
        arXiv:2107.00645; numbers and names as raoyongming/GFNet `GFNetPyramid`.
    """

    VARIANTS: ClassVar = {
        "gfnet_h_ti": {},
        "gfnet_h_s": {"embed_dim": (96, 192, 384, 768), "layer_scale": 1e-5},
        "gfnet_h_b": {
            "embed_dim": (96, 192, 384, 768),
            "depths": (3, 3, 27, 3),
            "layer_scale": 1e-6,
        },
    }
    block_class = GFNetBlock

    def __init__(
        self,
        embed_dim: tuple[int, ...] = (64, 128, 256, 512),
        *,
        depths: tuple[int, ...] = (3, 3, 10, 3),
        mlp_ratio: float = 4.0,
        image_size: int = 224,
        layer_scale: float | None = 1e-3,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        widths = self.per_stage("embed_dim", embed_dim, 4, self.integer)
        counts = self.per_stage("depths", depths, 4, self.integer)
        ratios = self.per_stage("mlp_ratio", mlp_ratio, 4, self.positive)
        config = {
            "embed_dim": widths,
            "depths": counts,
            "mlp_ratio": ratios,
            "image_size": self.integer("image_size", image_size),
            "layer_scale": None if layer_scale is None else self.number("layer_scale", layer_scale),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        self.divisible("`image_size`", image_size, "the total stride", 32)
        dtype = kwargs.pop("dtype", None)

        x = images = keras.Input((image_size, image_size, 3))
        names, stages = {}, []
        for stage, rates in enumerate(drop_path_rates(drop_path, counts)):
            embed = patch_embedding(
                widths[stage], 2 if stage else 4, name=f"patch_embedding_{stage}", dtype=dtype
            )
            x = embed(x)
            names[f"patch_embed.{stage}.proj"] = embed
            if stage == 0:
                names["pos_embed"] = PositionEmbedding(name="position", dtype=dtype)
                x = names["pos_embed"](x)
            for i, rate in enumerate(rates):
                block = self.block_class(
                    mlp_ratio=ratios[stage],
                    dropout=dropout,
                    drop_path=rate,
                    layer_scale=layer_scale,
                    name=f"stage_{stage}_block_{i}",
                    dtype=dtype,
                )
                x = block(x)
                names[f"blocks.{stage}.{i}"] = block
            stages.append(x)
        names["norm"] = layers.LayerNormalization(epsilon=1e-6, name="norm", dtype=dtype)
        x = stages[-1] = names["norm"](x)
        if include_top:
            pool = layers.GlobalAveragePooling2D(
                data_format="channels_last", name="pool", dtype=dtype
            )
            names["head"] = layers.Dense(num_classes, name="head", dtype=dtype)
            x = names["head"](pool(x))
        self.finish(images, x, config, names, stages, dtype, **kwargs)
