"""CoAtNet: convolution blocks, then transformer blocks with relative attention."""

from typing import ClassVar

import keras
from keras import layers

from attn_core.layers.blocks.mb_conv import MBConv
from attn_core.layers.convolution import Conv2D
from attn_core.layers.maps.relative import RelativeSelfAttention
from attn_core.layers.normalization import BatchNormalization
from attn_core.models.base import MLP, AttentionModel, Block, drop_path_rates, stochastic_depth


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNetConvBlock(MBConv):
    """`MBConv` with stochastic depth.

    Args:
        filters: As for `MBConv`.
        drop_path: Rate of stochastic depth.
        **kwargs: As for `MBConv`.
    """

    def __init__(self, filters: int, *, drop_path: float = 0.0, **kwargs):
        super().__init__(filters, **kwargs)
        self.drop_path = drop_path
        self.stochastic_depth = stochastic_depth(drop_path, dtype=self.dtype_policy)

    def join(self, branch, shortcut, training):
        """Add the branch, dropped for some samples."""
        return super().join(self.stochastic_depth(branch, training=training), shortcut, training)

    def get_config(self) -> dict:
        """Return the arguments of the block and of `MBConv`."""
        names = ("filters", "expansion", "se_ratio", "strides", "kernel_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNetTransformerBlock(Block):
    """Relative self-attention and MLP, each behind a norm and a residual connection.

    Args:
        filters: Number of output channels.
        strides: 2 halves height and width, by average pooling; 1 keeps them.
        key_dim: Width of a head; there are `filters // key_dim` heads.
        mlp_ratio: Width of the MLP, as a multiple of `filters`.
        dropout: Rate in attention and MLP.
        drop_path: Rate of stochastic depth.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(
        self,
        filters: int,
        *,
        strides: int = 1,
        key_dim: int = 32,
        mlp_ratio: float = 4,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.key_dim = key_dim
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.drop_path = drop_path

    def build(self, input_shape):
        """Create attention, MLP, norms and the shortcut."""
        channels, dtype = input_shape[-1], self.dtype_policy
        inner = self._pooled(input_shape)
        outer = (*inner[:-1], self.filters)
        self.pool = layers.AveragePooling2D(
            self.strides, data_format="channels_last", name="pool", dtype=dtype
        )
        self.attention_norm = layers.LayerNormalization(
            epsilon=1e-6, name="attention_norm", dtype=dtype
        )
        self.attention = RelativeSelfAttention(
            self.filters // self.key_dim,
            key_dim=self.key_dim,
            output_dim=self.filters,
            dropout=self.dropout,
            data_format="channels_last",
            name="attention",
            dtype=dtype,
        )
        self.mlp_norm = layers.LayerNormalization(epsilon=1e-6, name="mlp_norm", dtype=dtype)
        self.mlp = MLP(
            int(self.filters * self.mlp_ratio), dropout=self.dropout, name="mlp", dtype=dtype
        )
        self.stochastic_depth = stochastic_depth(self.drop_path, dtype=dtype)
        self.attention_norm.build(input_shape)
        self.attention.build(inner)
        self.mlp_norm.build(outer)
        self.mlp.build(outer)
        self.shortcut = None
        if channels != self.filters:
            self.shortcut = layers.Dense(self.filters, name="shortcut", dtype=dtype)
            self.shortcut.build(inner)

    def call(self, x, training=None):
        """Attend, then mix the channels."""
        around = self.pool(x) if self.strides > 1 else x
        around = around if self.shortcut is None else self.shortcut(around)
        x = self.attention_norm(x)
        x = self.pool(x) if self.strides > 1 else x
        x = around + self.stochastic_depth(self.attention(x, training=training), training=training)
        return x + self.stochastic_depth(
            self.mlp(self.mlp_norm(x), training=training), training=training
        )

    def _pooled(self, shape) -> tuple:
        batch, height, width, channels = shape
        return batch, height // self.strides, width // self.strides, channels

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape after pooling, with `filters` channels."""
        return (*self._pooled(input_shape)[:-1], self.filters)

    def torch_names(self) -> dict:
        """Name the parameters as timm's `TransformerBlock2d` does."""
        norm = "norm1.norm" if self.strides > 1 else "norm1"
        names = {
            norm: self.attention_norm,
            "attn": self.attention,
            "norm2": self.mlp_norm,
            "mlp": self.mlp,
        }
        return names if self.shortcut is None else {"shortcut.expand": self.shortcut} | names


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNet(AttentionModel):
    """CoAtNet: MBConv in the early stages, relative self-attention in the late ones.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        block_types: Kind of each stage: "C", convolution, or "T", transformer.
        stem_width: Number of channels of the stem.
        key_dim: Width of an attention head.
        expansion: Hidden width of MBConv, as a multiple of its output's.
        se_ratio: Width of its squeeze-and-excitation, as a multiple of its output's.
        mlp_ratio: Width of the MLPs, as a multiple of the stage's.
        representation_size: Width of the dense layer before the classifier: "last", that of the
            last stage; an integer; `None`, no such layer.
        image_size: Side of the images in pixels, or (height, width); multiples of 32.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        dropout: Rate in the transformer blocks and before the classifier.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, 3)`.

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
        NeurIPS 2021, arXiv:2106.04803; numbers and names as timm's coatnet_*_224.
    """

    VARIANTS: ClassVar = {
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

    def __init__(
        self,
        embed_dim: tuple[int, ...] = (96, 192, 384, 768),
        *,
        depths: tuple[int, ...] = (2, 3, 5, 2),
        block_types: tuple[str, ...] = ("C", "C", "T", "T"),
        stem_width: int = 64,
        key_dim: int = 32,
        expansion: float = 4,
        se_ratio: float = 0.25,
        mlp_ratio: float = 4,
        representation_size: int | str | None = "last",
        image_size: int | tuple[int, int] = 224,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        block_types = self.sequence(
            "block_types", block_types, lambda name, kind: self.choice(name, kind, ("C", "T"))
        )
        count = len(block_types)
        widths = self.per_stage("embed_dim", embed_dim, count, self.integer)
        counts = self.per_stage("depths", depths, count, self.integer)
        height, width = self.sequence(
            "image_size",
            image_size if isinstance(image_size, (list, tuple)) else (image_size, image_size),
            self.integer,
            2,
        )
        for side in (height, width):
            self.divisible("`image_size`", side, "2 ** (1 + stages)", 2 ** (1 + count))
        if representation_size not in ("last", None):
            self.integer("representation_size", representation_size)
        config = {
            "embed_dim": widths,
            "depths": counts,
            "block_types": block_types,
            "stem_width": self.integer("stem_width", stem_width),
            "key_dim": self.integer("key_dim", key_dim),
            "expansion": self.positive("expansion", expansion),
            "se_ratio": self.number("se_ratio", se_ratio, 0.0),
            "mlp_ratio": self.positive("mlp_ratio", mlp_ratio),
            "representation_size": representation_size,
            "image_size": (height, width),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        for width_of_stage, kind in zip(widths, block_types, strict=True):
            if kind == "T":
                self.divisible("`embed_dim`", width_of_stage, "key_dim", key_dim)
        dtype = kwargs.pop("dtype", None)

        images = keras.Input((height, width, 3))
        stem = {"use_bias": False, "dtype": dtype}
        first = Conv2D(stem_width, 3, strides=2, name="stem_conv_1", **stem)
        norm = BatchNormalization(name="stem_norm", dtype=dtype)
        second = Conv2D(stem_width, 3, name="stem_conv_2", **stem)
        x = layers.Activation("gelu", name="stem_gelu", dtype=dtype)(norm(first(images)))
        x = second(x)
        names = {"stem.conv1": first, "stem.norm1": norm, "stem.conv2": second}

        stages = []
        for stage, rates in enumerate(drop_path_rates(drop_path, counts)):
            for i, rate in enumerate(rates):
                shared = {"strides": 1 if i else 2, "drop_path": rate, "dtype": dtype}
                shared["name"] = f"stage_{stage}_block_{i}"
                if block_types[stage] == "C":
                    block = CoAtNetConvBlock(
                        widths[stage],
                        expansion=expansion,
                        se_ratio=se_ratio,
                        data_format="channels_last",
                        **shared,
                    )
                else:
                    block = CoAtNetTransformerBlock(
                        widths[stage],
                        key_dim=key_dim,
                        mlp_ratio=mlp_ratio,
                        dropout=dropout,
                        **shared,
                    )
                x = block(x)
                names[f"stages.{stage}.blocks.{i}"] = block
            stages.append(x)

        norm = layers.LayerNormalization(epsilon=1e-6, name="norm", dtype=dtype)
        pool = layers.GlobalAveragePooling2D(data_format="channels_last", name="pool", dtype=dtype)
        head = layers.Dense(num_classes, name="head", dtype=dtype)
        drop = layers.Dropout(dropout, name="head_dropout", dtype=dtype)
        if representation_size is None:
            x = stages[-1] = norm(x)
            names["norm"] = norm
            if include_top:
                x = head(drop(pool(x)))
                names["head.fc"] = head
        elif include_top:
            size = widths[-1] if representation_size == "last" else representation_size
            logits = layers.Dense(size, activation="tanh", name="pre_logits", dtype=dtype)
            x = head(drop(logits(norm(pool(x)))))
            names |= {"head.norm": norm, "head.pre_logits.fc": logits, "head.fc": head}
        self.finish(images, x, config, names, stages, dtype, **kwargs)
