"""VOLO: outlook attention on small patches, then transformers on larger patches."""

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import keras
from keras import layers, ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._typing import KerasArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import stacked
from attn_core.layers import EfficientMultiHeadSelfAttention, OutlookAttention
from attn_core.layers._children import dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization, LayerNormalization
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import (
    MLP,
    Block,
    PositionEmbedding,
    TransformerBlock,
    patch_embedding,
)
from attn_core.models._preprocess import Preprocess


class VOLOBlock(TransformerBlock):
    """Attention and MLP. Names of parameters as in sail-sg/volo.

    Args:
        num_heads: Number of heads; it divides C.
        **kwargs: As for `TransformerBlock`; `dropout` acts only on the attention map.
    """

    def __init__(self, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def create_mlp(self, hidden_dim: int, **options: Any) -> MLP:
        """Return the MLP, which has no dropout."""
        return MLP(hidden_dim, **options)


@keras.saving.register_keras_serializable(package="attn_core")
class Outlooker(VOLOBlock):
    """Outlook attention and MLP for an image.

    Args:
        num_heads: As for `VOLOBlock`.
        kernel_size: Odd size of the windows of the outlook attention.
        strides: Distance between the windows.
        **kwargs: As for `VOLOBlock`.
    """

    def __init__(
        self, num_heads: int, *, kernel_size: int = 3, strides: int = 2, **kwargs: Any
    ) -> None:
        super().__init__(num_heads, **kwargs)
        self.kernel_size = kernel_size
        self.strides = strides

    def create_mixer(self, **options: Any) -> keras.layers.Layer:
        """Return outlook attention."""
        sizes = {"kernel_size": self.kernel_size, "strides": self.strides}
        return OutlookAttention(self.num_heads, **sizes, data_format="channels_last", **options)


@keras.saving.register_keras_serializable(package="attn_core")
class VOLOTransformer(VOLOBlock):
    """Self-attention and MLP for an image. Arguments as for `VOLOBlock`."""

    def create_mixer(self, **options: Any) -> keras.layers.Layer:
        """Return plain self-attention: the layer of ResT without reduction and transform."""
        return EfficientMultiHeadSelfAttention(
            self.num_heads, apply_transform=False, data_format="channels_last", **options
        )

    def torch_names(self) -> TorchNames:
        """Name the parameters as sail-sg/volo does: it has one map for queries, keys and values."""
        names = super().torch_names()
        attention = names.pop("attn")
        maps = (attention.query, attention.key_value)
        names["attn.qkv.weight"] = stacked(*(layer.kernel for layer in maps))
        if self.qkv_bias:
            names["attn.qkv.bias"] = stacked(*(layer.bias for layer in maps))
        return {**names, "attn.proj": attention.project}


@keras.saving.register_keras_serializable(package="attn_core")
class ClassBlock(VOLOBlock):
    """Class attention and MLP for tokens; only the first token, the class token, changes.

    Arguments as for `VOLOBlock`.
    """

    def create_mixer(self, **options: Any) -> keras.layers.Layer:
        """Return class attention."""
        return ClassAttention(self.num_heads, **options)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Update the class token."""
        token = self.update(x[:, :1], x, training)
        return ops.concatenate([token, x[:, 1:]], axis=1)


@keras.saving.register_keras_serializable(package="attn_core")
class ClassAttention(Block):
    """Attention from the first token to all tokens: `(B, N, C)` to `(B, 1, C)`.

    Args:
        num_heads: Number of heads; it divides C.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        dropout: Rate of dropout on the attention map.
        **kwargs: Keras' own layer arguments.
    """

    split = {"query": "heads", "key_value": "heads", "project": "head inputs"}

    def __init__(
        self,
        num_heads: int,
        *,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.qkv_bias = qkv_bias
        self.dropout = dropout

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps."""
        channels = input_shape[-1]
        self.query = dense(self, channels, channels, "query", use_bias=self.qkv_bias)
        self.key_value = dense(self, channels, 2 * channels, "key_value", use_bias=self.qkv_bias)
        self.project = dense(self, channels, channels, "project")
        self.drop = layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Attend from the first token to all tokens."""
        key, value = ops.split(self.key_value(x), 2, axis=-1)
        parts = (split_heads(part, self.num_heads) for part in (self.query(x[:, :1]), key, value))
        output, _ = attend(*parts, dropout=self.drop, training=training)
        return self.project(merge_heads(output))  # (B, 1, C)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one token."""
        return input_shape[0], 1, input_shape[-1]

    def torch_names(self) -> TorchNames:
        """Name the parameters as sail-sg/volo does."""
        return {"q": self.query, "kv": self.key_value, "proj": self.project}


@keras.saving.register_keras_serializable(package="attn_core")
class ClassToken(Block):
    """Converts an image to tokens, `(B, 1 + H * W, C)`; the first is the learned class token."""

    def build(self, input_shape: Shape) -> None:
        """Create the class token, (1, 1, C)."""
        self.token = self.add_weight(
            shape=(1, 1, input_shape[-1]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="token",
        )

    def call(self, x: Tensor) -> Tensor:
        """Flatten `x` to tokens and put the class token before them."""
        _, height, width, channels = x.shape
        x = ops.reshape(x, (-1, height * width, channels))
        token = self.token + ops.zeros_like(x[:, :1])  # one copy for each image
        return ops.concatenate([token, x], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the tokens."""
        batch, height, width, channels = input_shape
        return batch, 1 + height * width, channels


@keras.saving.register_keras_serializable(package="attn_core")
class FirstToken(Block):
    """Takes the first token, `(B, C)`: a layer, because `.h5` files cannot hold an index."""

    def call(self, x: Tensor) -> Tensor:
        """Leave all other tokens out."""
        return x[:, 0]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one token."""
        batch, _, channels = input_shape
        return batch, channels


@keras.saving.register_keras_serializable(package="attn_core")
class AddHalf(keras.layers.Layer):
    """Adds half the second of two tensors to the first, in a layer for the same reason."""

    def call(self, pair: Sequence[Tensor]) -> Tensor:
        """Return one + other / 2."""
        one, other = pair
        return one + 0.5 * other

    def compute_output_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the first."""
        return tuple(shapes[0])


@keras.saving.register_keras_serializable(package="attn_core")
class VOLO(AttentionModel):
    """VOLO, the vision outlooker: outlook attention on small patches, then a vision transformer.

    The first stage consists of blocks with outlook attention and ends with a downsampling to half
    the height and width. The other stages are transformers and all have the same width. Arguments
    "of each stage" are a tuple, or one value for all stages.

    Args:
        embed_dim: Number of channels of each stage; from the second stage on they are equal.
        depths: Number of blocks of each stage.
        num_heads: Number of heads of each stage; it divides `embed_dim`.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its `embed_dim`.
        patch_size: Side of the square patches of the first stage, in pixels; even.
        stem_width: Number of channels of the three convolutions before the patches.
        image_size: Side of the images in pixels, or (height, width); multiples of twice the
            `patch_size`. Only the position embedding depends on it.
        kernel_size: Odd size of the windows of the outlook attention.
        strides: Distance between the windows.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        class_blocks: Number of blocks in which a class token attends to all tokens; the classifier
            then uses the class token. With 0 it uses the mean of the feature map.
        dense_head: Whether to use a second classifier, which computes logits for each position, and
            to add half of their maximum over the positions.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to classify; otherwise the output is the last feature map, and there
            are no class blocks.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate after the position embedding and of the attention maps: the authors'
            `drop_rate` and `attn_drop_rate`.
        drop_path: Rate of stochastic depth in the last transformer block. The rate rises to it from
            0 over all blocks, but outlookers and class blocks have no stochastic depth, as in the
            authors' code.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map, normalized,
        `(B, H / stride, W / stride, embed_dim[-1])` with `stride = 2 * patch_size`.

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
        arXiv:2106.13112. The outputs and the names of the parameters are the same as those of
        sail-sg/volo `VOLO`. In training, the authors' network mixes tokens of two images and also
        returns the logits of the positions, for token labelling; here the output is always the
        authors' output in evaluation. The authors' network cannot combine mean pooling with the
        dense head; here the logits of both are added.
    """

    TOP = ("head", "aux_head", "post_network", "cls_token")

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
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

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {name: Preprocess(224, 0.96) for name in VARIANTS}

    @checked(per_stage=("embed_dim", "depths", "num_heads", "mlp_ratio"))
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (192, 384, 384, 384),
        *,
        depths: int | tuple[int, ...] = (4, 4, 8, 2),
        num_heads: int | tuple[int, ...] = (6, 12, 12, 12),
        mlp_ratio: float | tuple[float, ...] = 3.0,
        patch_size: int = 8,
        stem_width: int = 64,
        image_size: int | tuple[int, int] = 224,
        kernel_size: int = 3,
        strides: int = 2,
        qkv_bias: bool = False,
        class_blocks: int = 2,
        dense_head: bool = True,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        check_widths(self, embed_dim, num_heads)
        checks.divisible(self, "`patch_size`", patch_size, "the stride of the stem", 2)
        for side in image_size:
            checks.divisible(self, "`image_size`", side, "the total stride", 2 * patch_size)
        net = Graph((*image_size, in_channels), **kwargs)
        x = stem(net, stem_width, embed_dim[0], patch_size)
        block = {"qkv_bias": qkv_bias, "dropout": dropout}
        stages = zip(num_heads, mlp_ratio, drop_path_rates(drop_path, depths), strict=True)
        for stage, (heads, ratio, rates) in enumerate(stages):
            block["mlp_ratio"] = ratio
            if stage == 0:
                windows = {"kernel_size": kernel_size, "strides": strides}
                x = outlookers(net, x, len(rates), heads, {**windows, **block})
                x = halve(net, x, embed_dim[1], dropout)
            else:
                x = transformers(net, x, stage, rates, heads, block)
        norm = net.add(LayerNormalization, epsilon=1e-5, name="norm", torch="norm")
        output = net.stages[-1] = norm(x)
        if include_top:
            if class_blocks:
                summary = norm(class_token(net, x, class_blocks, num_heads[-1], block))
            else:
                summary = net.pool(output)
            output = classify(net, output, summary, num_classes, dense_head)
        self.finish(net, output)


def check_widths(owner: VOLO, embed_dim: tuple[int, ...], num_heads: tuple[int, ...]) -> None:
    """Check that all later stages have the same width, and that heads divide the widths."""
    if len(embed_dim) < 2 or len(set(embed_dim[1:])) > 1:
        raise checks.error(
            owner,
            "`embed_dim` must have two entries or more, equal from the second on.",
            f"embed_dim={embed_dim}",
        )
    for width, heads in zip(embed_dim, num_heads, strict=True):
        checks.divisible(owner, "`embed_dim`", width, "num_heads", heads)


def stem(net: Graph, width: int, channels: int, patch_size: int) -> Tensor:
    """Return the patches of the images: three convolutions, then the patch embedding."""
    x = net.images
    for i, (size, strides) in enumerate(((7, 2), (3, 1), (3, 1))):
        conv = {"strides": strides, "use_bias": False, "torch": f"patch_embed.conv.{3 * i}"}
        x = net.add(Conv2D, width, size, name=f"stem_conv_{i}", **conv)(x)
        norm = {"name": f"stem_norm_{i}", "torch": f"patch_embed.conv.{3 * i + 1}"}
        x = net.add(BatchNormalization, **norm)(x)
        x = net.add(layers.ReLU, name=f"stem_relu_{i}")(x)
    names = {"name": "patch_embedding", "torch": "patch_embed.proj"}
    return net.add(patch_embedding, channels, patch_size // 2, **names)(x)


def outlookers(net: Graph, x: Tensor, depth: int, num_heads: int, block: dict[str, Any]) -> Tensor:
    """Return the output of the first stage."""
    for i in range(depth):
        names = {"name": f"stage_0_block_{i}", "torch": f"network.0.{i}"}
        x = net.add(Outlooker, num_heads, **names, **block)(x)
    net.stages.append(x)
    return x


def transformers(
    net: Graph,
    x: Tensor,
    stage: int,
    rates: Sequence[float],
    num_heads: int,
    block: dict[str, Any],
) -> Tensor:
    """Return the output of a stage of transformers."""
    for i, rate in enumerate(rates):
        names = {"name": f"stage_{stage}_block_{i}", "torch": f"network.{stage + 1}.{i}"}
        x = net.add(VOLOTransformer, num_heads, drop_path=rate, **names, **block)(x)
    net.stages.append(x)
    return x


def halve(net: Graph, x: Tensor, channels: int, dropout: float) -> Tensor:
    """Return an image at half its size, with a position embedding."""
    x = net.add(patch_embedding, channels, 2, name="downsample", torch="network.1.proj")(x)
    position = net.add(PositionEmbedding, name="position")
    x = position(x)
    # The table is (1, H, W, C) here, not (1, H * W, C) as in other authors' code.
    net.torch_names["pos_embed"] = position.table
    return net.add(layers.Dropout, dropout, name="position_dropout")(x)


def class_token(net: Graph, x: Tensor, count: int, num_heads: int, block: dict[str, Any]) -> Tensor:
    """Return the class token of an image, `(B, C)`, after `count` class blocks."""
    token = net.add(ClassToken, name="class_token")
    x = token(x)
    net.torch_names["cls_token"] = token.token
    for i in range(count):
        names = {"name": f"class_block_{i}", "torch": f"post_network.{i}"}
        x = net.add(ClassBlock, num_heads, **names, **block)(x)
    return net.add(FirstToken, name="first_token")(x)


def classify(
    net: Graph, features: Tensor, summary: Tensor, num_classes: int, dense_head: bool
) -> Tensor:
    """Return the logits of the summary, plus half the largest of the positions if asked for."""
    output = net.classify(summary, num_classes, torch="head")
    if not dense_head:
        return output
    logits = net.add(layers.Dense, num_classes, name="dense_head", torch="aux_head")(features)
    best = net.add(layers.GlobalMaxPooling2D, name="dense_pool", data_format="channels_last")
    return net.add(AddHalf, name="logits")([output, best(logits)])
