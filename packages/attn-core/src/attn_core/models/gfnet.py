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
    drop_path,
    drop_path_rates,
    patch_embedding,
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
        self.stochastic_depth = drop_path(self.drop_path, 4, name="stochastic_depth", dtype=dtype)
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
            "mlp_ratio": self.number("mlp_ratio", mlp_ratio, 0.0),
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
        x = norm(x)
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
        self.finish(images, x, config, names, dtype, **kwargs)
