"""GFNet and its pyramid: networks of global filters."""

from typing import Any, ClassVar, Unpack

import keras
from keras import layers

from attn_core import _checks as checks
from attn_core._ops.streams import stream
from attn_core._typing import KerasArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers import GlobalFilter
from attn_core.layers._children import child
from attn_core.layers._normalization import LayerNormalization
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import (
    MLP,
    Block,
    PositionEmbedding,
    patch_embedding,
    scaled,
    stochastic_depth,
)
from attn_core.models._preprocess import Preprocess


@keras.saving.register_keras_serializable(package="attn_core")
class GFNetBlock(Block):
    """Norm, global filter, norm and MLP, with one residual connection around them.

    Args:
        mlp_ratio: Width of the MLP, as a multiple of C.
        dropout: Rate in the MLP.
        drop_path: Rate of stochastic depth.
        layer_scale: Initial value of the learned scale of the branch; `None` for no scale.
        **kwargs: Keras' own layer arguments.
    """

    filter_class: ClassVar[type[GlobalFilter]] = GlobalFilter

    def __init__(
        self,
        *,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.drop_path = drop_path
        self.layer_scale = layer_scale

    def build(self, input_shape: Shape) -> None:
        """Create the filter, the MLP and their norms."""
        channels, shape, norm = input_shape[-1], input_shape, LayerNormalization
        self.filter_norm = child(self, norm, shape=shape, epsilon=1e-6, name="filter_norm")
        image = {"data_format": "channels_last"}
        self.filter = child(self, self.filter_class, shape=shape, name="filter", **image)
        self.mlp_norm = child(self, norm, shape=shape, epsilon=1e-6, name="mlp_norm")
        width = int(channels * self.mlp_ratio)
        self.mlp = child(self, MLP, width, shape=shape, dropout=self.dropout, name="mlp")
        self.stochastic_depth = stochastic_depth(self.drop_path, dtype=self.dtype_policy)
        self.scale = None
        if self.layer_scale is not None:
            self.scale = self.add_scale(channels, self.layer_scale, "scale")

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the filter and the MLP, and add the result to the input."""
        x = stream(x)
        branch = self.filter(self.filter_norm(x))
        branch = self.mlp(self.mlp_norm(branch), training=training)
        branch = scaled(branch, self.scale)
        return x + self.stochastic_depth(branch, training=training)

    def torch_names(self) -> TorchNames:
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
        image_size: Side of the images in pixels, or (height, width); multiples of `patch_size`.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate after the position embedding and in the MLPs.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / patch_size, W / patch_size, embed_dim)`.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = GFNet(16, depths=1, patch_size=4, image_size=16, num_classes=10)
        >>> tuple(model(np.ones((2, 16, 16, 3))).shape)
        (2, 10)

    Reference:
        Rao, Zhao, Zhu, Lu, Zhou, "Global Filter Networks for Image Classification", NeurIPS 2021,
        arXiv:2107.00645. The outputs and the names of the parameters are the same as those of
        raoyongming/GFNet `GFNet`.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "gfnet_ti": {"embed_dim": 256},
        "gfnet_xs": {"embed_dim": 384},
        "gfnet_s": {"embed_dim": 384, "depths": 19},
        "gfnet_b": {"embed_dim": 512, "depths": 19},
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {name: Preprocess(224) for name in VARIANTS}

    block_class: ClassVar[type[GFNetBlock]] = GFNetBlock

    @checked()
    def __init__(
        self,
        embed_dim: int = 384,
        *,
        depths: int = 12,
        mlp_ratio: float = 4.0,
        patch_size: int = 16,
        image_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        for side in image_size:
            checks.divisible(self, "`image_size`", side, "patch_size", patch_size)
        net = Graph((*image_size, in_channels), **kwargs)
        x = net.add(
            patch_embedding, embed_dim, patch_size, name="patch_embedding", torch="patch_embed.proj"
        )(net.images)
        x = net.add(PositionEmbedding, name="position", torch="pos_embed")(x)
        x = net.add(layers.Dropout, dropout, name="position_dropout")(x)
        options = {"mlp_ratio": mlp_ratio, "dropout": dropout}
        for i, rate in enumerate(drop_path_rates(drop_path, (depths,))[0]):
            block = {"name": f"block_{i}", "torch": f"blocks.{i}", "drop_path": rate}
            x = net.add(self.block_class, **block, **options)(x)
        x = net.norm(x, epsilon=1e-6)
        net.stages = [x]
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head")
        self.finish(net, x)


@keras.saving.register_keras_serializable(package="attn_core")
class GFNetPyramid(AttentionModel):
    """GFNet in four stages, each with half the resolution and more channels than the one before.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its channels.
        image_size: Side of the images in pixels, or (height, width); multiples of 32.
        layer_scale: Initial value of the learned scale of each branch; `None` for no scales.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate in the MLPs.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, embed_dim[-1])`.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = GFNetPyramid((8, 8, 16, 16), depths=1, image_size=32, num_classes=10)
        >>> tuple(model(np.ones((2, 32, 32, 3))).shape)
        (2, 10)

    Reference:
        Rao, Zhao, Zhu, Lu, Zhou, "Global Filter Networks for Image Classification", NeurIPS 2021,
        arXiv:2107.00645. The outputs and the names of the parameters are the same as those of
        raoyongming/GFNet `GFNetPyramid`.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "gfnet_h_ti": {},
        "gfnet_h_s": {"embed_dim": (96, 192, 384, 768), "layer_scale": 1e-5},
        "gfnet_h_b": {
            "embed_dim": (96, 192, 384, 768),
            "depths": (3, 3, 27, 3),
            "layer_scale": 1e-6,
        },
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {name: Preprocess(224) for name in VARIANTS}

    block_class: ClassVar[type[GFNetBlock]] = GFNetBlock

    @checked(per_stage=("embed_dim", "depths", "mlp_ratio"), stages=4)
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (64, 128, 256, 512),
        *,
        depths: int | tuple[int, ...] = (3, 3, 10, 3),
        mlp_ratio: float | tuple[float, ...] = 4.0,
        image_size: int | tuple[int, int] = 224,
        layer_scale: float | None = 1e-3,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        for side in image_size:
            checks.divisible(self, "`image_size`", side, "the total stride", 32)
        net = Graph((*image_size, in_channels), **kwargs)
        x, options = net.images, {"dropout": dropout, "layer_scale": layer_scale}
        for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
            embedding = {"name": f"patch_embedding_{stage}", "torch": f"patch_embed.{stage}.proj"}
            x = net.add(patch_embedding, embed_dim[stage], 2 if stage else 4, **embedding)(x)
            if stage == 0:
                x = net.add(PositionEmbedding, name="position", torch="pos_embed")(x)
            for i, rate in enumerate(rates):
                names = {"name": f"stage_{stage}_block_{i}", "torch": f"blocks.{stage}.{i}"}
                block = {"mlp_ratio": mlp_ratio[stage], "drop_path": rate, **options}
                x = net.add(self.block_class, **names, **block)(x)
            net.stages.append(x)
        x = net.stages[-1] = net.norm(x, epsilon=1e-6)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head")
        self.finish(net, x)
