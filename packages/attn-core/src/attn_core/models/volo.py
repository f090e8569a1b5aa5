"""VOLO: outlookers on small patches, then transformers on larger ones."""

from typing import ClassVar

import keras
from keras import layers, ops

from attn_core.layers.convolution import Conv2D
from attn_core.layers.normalization import BatchNormalization
from attn_core.layers.tokens.emsa import EfficientMultiHeadSelfAttention
from attn_core.layers.windows.outlook import OutlookAttention
from attn_core.models.base import (
    MLP,
    AttentionModel,
    Block,
    PositionEmbedding,
    TransformerBlock,
    drop_path_rates,
    patch_embedding,
)
from attn_core.ops.attention import attend, merge_heads, split_heads
from attn_core.weights.entries import rows


class VOLOBlock(TransformerBlock):
    """Attention and MLP. Names of parameters as sail-sg/volo.

    Args:
        num_heads: Number of heads; divides C.
        **kwargs: As for `TransformerBlock`; `dropout` acts on the attention map alone.
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def create_mlp(self, hidden_dim, **options):
        """Return the MLP, without dropout."""
        return MLP(hidden_dim, **options)


@keras.saving.register_keras_serializable(package="attn_core")
class Outlooker(VOLOBlock):
    """Outlook attention and MLP, on an image.

    Args:
        num_heads: As for `VOLOBlock`.
        kernel_size: Odd size of the windows of the outlook attention.
        strides: Distance of its windows.
        **kwargs: As for `VOLOBlock`.
    """

    def __init__(self, num_heads: int, *, kernel_size: int = 3, strides: int = 2, **kwargs):
        super().__init__(num_heads, **kwargs)
        self.kernel_size = kernel_size
        self.strides = strides

    def create_mixer(self, **options):
        """Return outlook attention."""
        sizes = {"kernel_size": self.kernel_size, "strides": self.strides}
        return OutlookAttention(self.num_heads, **sizes, data_format="channels_last", **options)


@keras.saving.register_keras_serializable(package="attn_core")
class VOLOTransformer(VOLOBlock):
    """Self-attention and MLP, on an image. Arguments as for `VOLOBlock`."""

    def create_mixer(self, **options):
        """Return plain self-attention: ResT's, neither reduced nor transformed."""
        return EfficientMultiHeadSelfAttention(
            self.num_heads, apply_transform=False, data_format="channels_last", **options
        )

    def torch_names(self) -> dict:
        """Name the parameters as sail-sg/volo does: queries, keys and values are one map there."""
        names = super().torch_names()
        attention = names.pop("attn")
        maps = (attention.query, attention.key_value)
        names["attn.qkv.weight"] = rows(*(layer.kernel for layer in maps))
        if self.qkv_bias:
            names["attn.qkv.bias"] = rows(*(layer.bias for layer in maps))
        return {**names, "attn.proj": attention.project}


@keras.saving.register_keras_serializable(package="attn_core")
class ClassBlock(VOLOBlock):
    """Class attention and MLP, on tokens: they change the first token only, the class token.

    Arguments as for `VOLOBlock`.
    """

    def create_mixer(self, **options):
        """Return class attention."""
        return ClassAttention(self.num_heads, **options)

    def call(self, x, training=None):
        """Update the class token."""
        token = self.update(x[:, :1], x, training)
        return ops.concatenate([token, x[:, 1:]], axis=1)


@keras.saving.register_keras_serializable(package="attn_core")
class ClassAttention(Block):
    """Attention of the first token to all: `(B, N, C)` to `(B, 1, C)`.

    Args:
        num_heads: Number of heads; divides C.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(self, num_heads: int, *, qkv_bias: bool = False, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.qkv_bias = qkv_bias
        self.dropout = dropout

    def build(self, input_shape):
        """Create the linear maps."""
        channels, dtype = input_shape[-1], self.dtype_policy
        options = {"use_bias": self.qkv_bias, "dtype": dtype}
        self.query = layers.Dense(channels, name="query", **options)
        self.key_value = layers.Dense(2 * channels, name="key_value", **options)
        self.project = layers.Dense(channels, name="project", dtype=dtype)
        self.drop = layers.Dropout(self.dropout, name="drop", dtype=dtype)
        for layer in (self.query, self.key_value, self.project):
            layer.build((None, channels))

    def call(self, x, training=None):
        """Let the first token gather from all."""
        key, value = ops.split(self.key_value(x), 2, axis=-1)
        parts = (split_heads(part, self.num_heads) for part in (self.query(x[:, :1]), key, value))
        output, _ = attend(*parts, dropout=self.drop, training=training)
        return self.project(merge_heads(output))  # (B, 1, C)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape of one token."""
        return input_shape[0], 1, input_shape[-1]

    def torch_names(self) -> dict:
        """Name the parameters as sail-sg/volo does."""
        return {"q": self.query, "kv": self.key_value, "proj": self.project}


@keras.saving.register_keras_serializable(package="attn_core")
class ClassToken(Block):
    """Makes tokens of an image, `(B, 1 + H * W, C)`, behind a learned one, the class token."""

    def build(self, input_shape):
        """Create the class token, (1, 1, C)."""
        self.token = self.add_weight(
            shape=(1, 1, input_shape[-1]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="token",
        )

    def call(self, x):
        """Flatten `x` and put the class token before it."""
        _, height, width, channels = x.shape
        x = ops.reshape(x, (-1, height * width, channels))
        token = self.token + ops.zeros_like(x[:, :1])  # once for each image
        return ops.concatenate([token, x], axis=1)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape of the tokens."""
        batch, height, width, channels = input_shape
        return batch, 1 + height * width, channels


@keras.saving.register_keras_serializable(package="attn_core")
class VOLO(AttentionModel):
    """VOLO, the vision outlooker: outlook attention on fine patches, then a vision transformer.

    The first stage consists of outlookers and ends in a downsampling to half its height and width;
    the others, all of one width, are transformers. What is "of each stage" is a tuple, or one value
    for all of them.

    Args:
        embed_dim: Number of channels of each stage; from the second on the same.
        depths: Number of blocks of each stage.
        num_heads: Number of heads of each stage; divides `embed_dim`.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its `embed_dim`.
        patch_size: Side of the square patches of the first stage, in pixels; even.
        stem_width: Number of channels of the three convolutions before the patches.
        image_size: Side of the square images, in pixels; a multiple of twice the `patch_size`. Only
            the position embedding depends on it.
        kernel_size: Odd size of the windows of the outlook attention.
        strides: Distance of its windows.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        class_blocks: Number of blocks in which a class token gathers from all others to be
            classified at last; 0 classifies the mean of the feature map.
        dense_head: Whether to add half the maximum, over all positions, of the logits that a second
            classifier gives each of them.
        num_classes: Number of logits.
        include_top: Whether to classify; otherwise the output is the last feature map, and there
            are no class blocks.
        dropout: Rate after the position embedding and of the attention maps: the authors'
            `drop_rate` and `attn_drop_rate`.
        drop_path: Rate of stochastic depth in the last transformer. It rises to it from 0 over
            all blocks, but the outlookers, as in the authors' code, have none; neither have the
            class blocks.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, image_size, image_size, 3)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map, normalized,
        `(B, image_size // stride, image_size // stride, embed_dim[-1])` with
        `stride = 2 * patch_size`.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = VOLO(
        ...     (8, 16), depths=1, num_heads=2, patch_size=4, stem_width=8, image_size=32,
        ...     num_classes=10
        ... )
        >>> tuple(model(np.ones((2, 32, 32, 3))).shape)
        (2, 10)

    Reference:
        Yuan, Hou, Jiang, Feng, Yan, "VOLO: Vision Outlooker for Visual Recognition", 2021,
        arXiv:2106.13112; numbers and names as sail-sg/volo `VOLO`. In training the authors'
        network mixes tokens of two images and returns the logits of the positions too, for token
        labelling; here it returns what it does in evaluation. Mean pooling excludes the dense head
        there; here the two add up.
    """

    VARIANTS: ClassVar = {
        "volo_d1": {},
        "volo_d2": {
            "embed_dim": (256, 512, 512, 512),
            "depths": (6, 4, 10, 4),
            "num_heads": (8, 16, 16, 16),
        },
        "volo_d3": {
            "embed_dim": (256, 512, 512, 512),
            "depths": (8, 8, 16, 4),
            "num_heads": (8, 16, 16, 16),
        },
        "volo_d4": {
            "embed_dim": (384, 768, 768, 768),
            "depths": (8, 8, 16, 4),
            "num_heads": (12, 16, 16, 16),
        },
        "volo_d5": {
            "embed_dim": (384, 768, 768, 768),
            "depths": (12, 12, 20, 4),
            "num_heads": (12, 16, 16, 16),
            "mlp_ratio": 4.0,
            "stem_width": 128,
        },
    }

    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (192, 384, 384, 384),
        *,
        depths: int | tuple[int, ...] = (4, 4, 8, 2),
        num_heads: int | tuple[int, ...] = (6, 12, 12, 12),
        mlp_ratio: float | tuple[float, ...] = 3.0,
        patch_size: int = 8,
        stem_width: int = 64,
        image_size: int = 224,
        kernel_size: int = 3,
        strides: int = 2,
        qkv_bias: bool = False,
        class_blocks: int = 2,
        dense_head: bool = True,
        num_classes: int = 1000,
        include_top: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        given = (embed_dim, depths, num_heads, mlp_ratio)
        count = next((len(value) for value in given if isinstance(value, (list, tuple))), 1)
        widths = self.per_stage("embed_dim", embed_dim, count, self.integer)
        counts = self.per_stage("depths", depths, count, self.integer)
        heads = self.per_stage("num_heads", num_heads, count, self.integer)
        ratios = self.per_stage("mlp_ratio", mlp_ratio, count, self.positive)
        config = {
            "embed_dim": widths,
            "depths": counts,
            "num_heads": heads,
            "mlp_ratio": ratios,
            "patch_size": self.integer("patch_size", patch_size),
            "stem_width": self.integer("stem_width", stem_width),
            "image_size": self.integer("image_size", image_size),
            "kernel_size": self.odd("kernel_size", kernel_size),
            "strides": self.integer("strides", strides),
            "qkv_bias": self.flag("qkv_bias", qkv_bias),
            "class_blocks": self.integer("class_blocks", class_blocks, 0),
            "dense_head": self.flag("dense_head", dense_head),
            "num_classes": self.integer("num_classes", num_classes),
            "include_top": self.flag("include_top", include_top),
            "dropout": self.rate("dropout", dropout),
            "drop_path": self.rate("drop_path", drop_path),
        }
        if count < 2 or len(set(widths[1:])) > 1:
            raise self.error(
                "`embed_dim` must have two entries or more, equal from the second on.",
                f"embed_dim={widths}",
            )
        for width, number in zip(widths, heads, strict=True):
            self.divisible("`embed_dim`", width, "num_heads", number)
        self.divisible("`patch_size`", patch_size, "the stride of the stem", 2)
        self.divisible("`image_size`", image_size, "the total stride", 2 * patch_size)
        dtype = kwargs.pop("dtype", None)

        x = images = keras.Input((image_size, image_size, 3))
        names, stages = {}, []
        for i in range(3):
            size, stride = (3, 1) if i else (7, 2)
            conv = Conv2D(
                stem_width, size, strides=stride, use_bias=False, name=f"stem_conv_{i}", dtype=dtype
            )
            norm = BatchNormalization(name=f"stem_norm_{i}", dtype=dtype)
            x = layers.ReLU(name=f"stem_relu_{i}", dtype=dtype)(norm(conv(x)))
            names |= {f"patch_embed.conv.{3 * i}": conv, f"patch_embed.conv.{3 * i + 1}": norm}
        embed = patch_embedding(widths[0], patch_size // 2, name="patch_embedding", dtype=dtype)
        x = embed(x)
        names["patch_embed.proj"] = embed

        shared = {"qkv_bias": qkv_bias, "dropout": dropout, "dtype": dtype}
        for stage, rates in enumerate(drop_path_rates(drop_path, counts)):
            blocks = []
            for i, rate in enumerate(rates):
                options = {"mlp_ratio": ratios[stage], "name": f"stage_{stage}_block_{i}", **shared}
                if stage == 0:
                    sizes = {"kernel_size": kernel_size, "strides": strides}
                    block = Outlooker(heads[stage], **sizes, **options)
                else:
                    block = VOLOTransformer(heads[stage], drop_path=rate, **options)
                x = block(x)
                blocks.append(block)
            stages.append(x)
            names[f"network.{stage + 1 if stage else 0}"] = blocks
            if stage == 0:
                project = patch_embedding(widths[1], 2, name="downsample", dtype=dtype)
                position = PositionEmbedding(name="position", dtype=dtype)
                x = position(project(x))
                x = layers.Dropout(dropout, name="position_dropout", dtype=dtype)(x)
                # The table is (1, H, W, C) here, not (1, H * W, C) as in other authors' code.
                names |= {"network.1.proj": project, "pos_embed": position.table}

        norm = layers.LayerNormalization(epsilon=1e-5, name="norm", dtype=dtype)
        features = stages[-1] = output = norm(x)
        names["norm"] = norm
        if include_top:
            if class_blocks:
                class_token = ClassToken(name="class_token", dtype=dtype)
                x = class_token(x)
                names["cls_token"] = class_token.token
                for i in range(class_blocks):
                    options = {"mlp_ratio": ratios[-1], "name": f"class_block_{i}", **shared}
                    names[f"post_network.{i}"] = ClassBlock(heads[-1], **options)
                    x = names[f"post_network.{i}"](x)
                summary = norm(x[:, 0])
            else:
                summary = layers.GlobalAveragePooling2D(
                    data_format="channels_last", name="pool", dtype=dtype
                )(features)
            names["head"] = layers.Dense(num_classes, name="head", dtype=dtype)
            output = names["head"](summary)
            if dense_head:
                names["aux_head"] = layers.Dense(num_classes, name="dense_head", dtype=dtype)
                best = layers.GlobalMaxPooling2D(
                    data_format="channels_last", name="dense_pool", dtype=dtype
                )
                output = output + 0.5 * best(names["aux_head"](features))
        self.finish(images, output, config, names, stages, dtype, **kwargs)
