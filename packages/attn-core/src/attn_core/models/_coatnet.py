"""CoAtNet: convolution blocks, then transformer blocks with relative attention."""

from functools import partial
from typing import Any, ClassVar, Unpack

import keras
from keras import layers

from attn_core import _checks as checks
from attn_core._ops.streams import stream
from attn_core._typing import KerasArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers import MBConv, RelativeSelfAttention
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization, LayerNormalization
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import MLP, Block, stochastic_depth


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNetConvBlock(MBConv):
    """`MBConv` with stochastic depth.

    Args:
        filters: As for `MBConv`.
        drop_path: Rate of stochastic depth.
        **kwargs: As for `MBConv`.
    """

    split = {"excite": "inputs", "project": "inputs"}
    follows = {"depthwise": "expand"}

    def __init__(self, filters: int, *, drop_path: float = 0.0, **kwargs: Any) -> None:
        super().__init__(filters, **kwargs)
        self.drop_path = drop_path
        self.stochastic_depth = stochastic_depth(drop_path, dtype=self.dtype_policy)

    def join(self, branch: Tensor, shortcut: Tensor, training: bool | None) -> Tensor:
        """Add the branch, which stochastic depth drops for some samples."""
        return super().join(self.stochastic_depth(branch, training=training), shortcut, training)


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNetTransformerBlock(Block):
    """Relative self-attention and MLP, each with a norm before it and a residual connection.

    Args:
        filters: Number of output channels.
        strides: 2 halves height and width, by average pooling; 1 keeps them.
        key_dim: Width of a head; there are `filters // key_dim` heads.
        mlp_ratio: Width of the MLP, as a multiple of `filters`.
        dropout: Rate in attention and MLP.
        drop_path: Rate of stochastic depth.
        **kwargs: Keras' own layer arguments.
    """

    split = {"shortcut": "whole"}

    def __init__(
        self,
        filters: int,
        *,
        strides: int = 1,
        key_dim: int = 32,
        mlp_ratio: float = 4,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.key_dim = key_dim
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.drop_path = drop_path

    def build(self, input_shape: Shape) -> None:
        """Create the attention, the MLP, the norms and the shortcut."""
        channels, width, norm = input_shape[-1], self.filters, LayerNormalization
        inner = self._pooled(input_shape)
        outer = (*inner[:-1], width)
        image = {"data_format": "channels_last"}
        pool = {"name": "pool", "dtype": self.dtype_policy, **image}
        self.pool = layers.AveragePooling2D(self.strides, **pool)
        self.attention_norm = child(
            self, norm, shape=input_shape, epsilon=1e-6, name="attention_norm"
        )
        sizes = {"key_dim": self.key_dim, "output_dim": width, "dropout": self.dropout, **image}
        heads = width // self.key_dim
        self.attention = child(
            self, RelativeSelfAttention, heads, shape=inner, name="attention", **sizes
        )
        self.mlp_norm = child(self, norm, shape=outer, epsilon=1e-6, name="mlp_norm")
        hidden = int(width * self.mlp_ratio)
        self.mlp = child(self, MLP, hidden, shape=outer, dropout=self.dropout, name="mlp")
        self.stochastic_depth = stochastic_depth(self.drop_path, dtype=self.dtype_policy)
        self.shortcut = None
        if channels != width:
            self.shortcut = dense(self, channels, width, "shortcut")

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the attention, then the MLP."""
        x = stream(x)
        around = self.pool(x) if self.strides > 1 else x
        around = around if self.shortcut is None else self.shortcut(around)
        x = self.attention_norm(x)
        x = self.pool(x) if self.strides > 1 else x
        x = around + self.stochastic_depth(self.attention(x, training=training), training=training)
        return x + self.stochastic_depth(
            self.mlp(self.mlp_norm(x), training=training), training=training
        )

    def _pooled(self, shape: Shape) -> Shape:
        batch, height, width, channels = shape
        return batch, height // self.strides, width // self.strides, channels

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after pooling, with `filters` channels."""
        return (*self._pooled(input_shape)[:-1], self.filters)

    def torch_names(self) -> TorchNames:
        """Name the parameters as timm's `TransformerBlock2d` does."""
        norm = "norm1.norm" if self.strides > 1 else "norm1"
        names = {
            norm: self.attention_norm,
            "attn": self.attention,
            "norm2": self.mlp_norm,
            "mlp": self.mlp,
        }
        return names if self.shortcut is None else {"shortcut.expand": self.shortcut} | names


def width_of_representation(owner: Any, name: str, value: Any) -> int | str | None:
    """Check that an argument is a width, "last" or `None`."""
    return value if value in ("last", None) else checks.integer(owner, name, value)


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNet(AttentionModel):
    """CoAtNet: MBConv in the early stages, relative self-attention in the late ones.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        block_types: Kind of each stage: "C", convolution, or "T", transformer.
        stem_width: Number of channels of the stem.
        key_dim: Width of an attention head.
        expansion: Hidden width of MBConv, as a multiple of its output channels.
        se_ratio: Width of its squeeze-and-excitation, as a multiple of its output channels.
        mlp_ratio: Width of the MLPs, as a multiple of the stage's channels.
        representation_size: Width of the dense layer before the classifier: an integer, or "last"
            for the width of the last stage; with `None` there is no such layer.
        image_size: Side of the images in pixels, or (height, width); multiples of 32.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate in the transformer blocks and before the classifier.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, embed_dim[-1])` for four stages.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = CoAtNet((8, 8, 16, 16), depths=1, stem_width=8, key_dim=8, image_size=32)
        >>> tuple(model(np.ones((2, 32, 32, 3))).shape)
        (2, 1000)

    Reference:
        Dai, Liu, Le, Tan, "CoAtNet: Marrying Convolution and Attention for All Data Sizes",
        NeurIPS 2021, arXiv:2106.04803. The outputs and the names of the parameters are the same as
        those of timm's coatnet_*_224.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "coatnet_0": {},
        "coatnet_1": {"depths": (2, 6, 14, 2)},
        "coatnet_2": {
            "embed_dim": (128, 256, 512, 1024),
            "depths": (2, 6, 14, 2),
            "stem_width": 128,
        },
        "coatnet_3": {
            "embed_dim": (192, 384, 768, 1536),
            "depths": (2, 6, 14, 2),
            "stem_width": 192,
        },
        "coatnet_4": {
            "embed_dim": (192, 384, 768, 1536),
            "depths": (2, 12, 28, 2),
            "stem_width": 192,
        },
        "coatnet_5": {
            "embed_dim": (256, 512, 1280, 2048),
            "depths": (2, 12, 28, 2),
            "stem_width": 192,
        },
    }

    OTHERS: ClassVar[dict[str, str]] = {
        "rel_pos.mlp.": "timm's coatnet_rmlp_*, whose relative biases are computed by an MLP",
        "se_early.": "timm's coatnet_*_rw, whose convolution blocks are other ones",
        "attn_block.": "a MaxViT",
    }

    @checked(
        per_stage=("embed_dim", "depths"),
        stages=lambda config: len(config["block_types"]),
        block_types=partial(checks.sequence, check=partial(checks.choice, choices=("C", "T"))),
        representation_size=width_of_representation,
    )
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (96, 192, 384, 768),
        *,
        depths: int | tuple[int, ...] = (2, 3, 5, 2),
        block_types: tuple[str, ...] = ("C", "C", "T", "T"),
        stem_width: int = 64,
        key_dim: int = 32,
        expansion: float = 4,
        se_ratio: float = 0.25,
        mlp_ratio: float = 4,
        representation_size: int | str | None = "last",
        image_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        count, images = len(block_types), (*image_size, in_channels)
        for side in image_size:
            checks.divisible(self, "`image_size`", side, "2 ** (1 + stages)", 2 ** (1 + count))
        for width, kind in zip(embed_dim, block_types, strict=True):
            if kind == "T":
                checks.divisible(self, "`embed_dim`", width, "key_dim", key_dim)
        net = Graph(images, **kwargs)
        x = stem(net, stem_width)
        convolution = {"expansion": expansion, "se_ratio": se_ratio, "data_format": "channels_last"}
        transformer = {"key_dim": key_dim, "mlp_ratio": mlp_ratio, "dropout": dropout}
        kinds = {
            "C": (CoAtNetConvBlock, convolution),
            "T": (CoAtNetTransformerBlock, transformer),
        }
        for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
            kind, options = kinds[block_types[stage]]
            for i, rate in enumerate(rates):
                names = {"name": f"stage_{stage}_block_{i}", "torch": f"stages.{stage}.blocks.{i}"}
                block = {"strides": 1 if i else 2, "drop_path": rate, **options}
                x = net.add(kind, embed_dim[stage], **names, **block)(x)
            net.stages.append(x)
        if representation_size is None:
            x = net.stages[-1] = net.norm(x, epsilon=1e-6)
        if include_top:
            x = net.pool(x)
            if representation_size is not None:
                size = embed_dim[-1] if representation_size == "last" else representation_size
                x = represent(net, x, size)
            x = net.classify(x, num_classes, torch="head.fc", dropout=dropout)
        self.finish(net, x)


def stem(net: Graph, width: int) -> Tensor:
    """Return images at half their size: two convolutions."""
    conv = {"use_bias": False}
    x = net.add(Conv2D, width, 3, strides=2, name="stem_conv_1", torch="stem.conv1", **conv)(
        net.images
    )
    x = net.add(BatchNormalization, name="stem_norm", torch="stem.norm1")(x)
    x = net.add(layers.Activation, "gelu", name="stem_gelu")(x)
    return net.add(Conv2D, width, 3, name="stem_conv_2", torch="stem.conv2", **conv)(x)


def represent(net: Graph, x: Tensor, size: int) -> Tensor:
    """Return the representation, of `size` numbers, of the pooled features."""
    x = net.add(LayerNormalization, epsilon=1e-6, name="norm", torch="head.norm")(x)
    dense = {"name": "pre_logits", "torch": "head.pre_logits.fc"}
    return net.add(layers.Dense, size, activation="tanh", **dense)(x)
