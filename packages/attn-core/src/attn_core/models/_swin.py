"""Swin Transformer: attention in shifted windows, in stages of decreasing resolution."""

import math
from typing import Any, ClassVar, Unpack

import keras
from keras import layers, ops

from attn_core import _checks as checks
from attn_core._typing import KerasArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers import WindowAttention
from attn_core.layers._children import child, dense
from attn_core.layers._normalization import LayerNormalization
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import Block, TransformerBlock, patch_embedding
from attn_core.models._preprocess import Preprocess

TIMM = {"head": "head.fc"} | {
    f"layers.{stage}.downsample": f"layers.{stage + 1}.downsample" for stage in range(3)
}
"""timm's names where they are not the authors': there a stage begins with the merging of patches,
and does not end with it."""


@keras.saving.register_keras_serializable(package="attn_core")
class SwinBlock(TransformerBlock):
    """Window attention and MLP for an image.

    Args:
        num_heads: Number of heads; it divides C.
        window_size: As for `WindowAttention`.
        shift_size: As for `WindowAttention`.
        **kwargs: As for `TransformerBlock`.
    """

    def __init__(
        self, num_heads: int, *, window_size: int = 7, shift_size: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift_size = shift_size

    def create_mixer(self, **options: Any) -> keras.layers.Layer:
        """Return window attention."""
        options |= {"shift_size": self.shift_size, "num_heads": self.num_heads}
        return WindowAttention(self.window_size, data_format="channels_last", **options)


@keras.saving.register_keras_serializable(package="attn_core")
class PatchMerging(Block):
    """Halves height and width: each 2 x 2 pixels are concatenated, normalized and projected.

    Args:
        filters: Number of output channels.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(self, filters: int, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape: Shape) -> None:
        """Create the norm and the projection."""
        joined, norm = 4 * input_shape[-1], LayerNormalization
        self.norm = child(self, norm, shape=(None, joined), epsilon=1e-5, name="norm")
        self.reduce = dense(self, joined, self.filters, "reduce", use_bias=False)

    def call(self, x: Tensor) -> Tensor:
        """Concatenate the pixels column by column, then normalize and project them."""
        _, height, width, channels = x.shape
        x = ops.reshape(x, (-1, 2, width // 2, 2, channels))  # (B * H / 2, row, W / 2, column, C)
        x = ops.transpose(x, (0, 2, 3, 1, 4))
        x = ops.reshape(x, (-1, height // 2, width // 2, 4 * channels))
        return self.reduce(self.norm(x))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the halved image, with `filters` channels."""
        batch, height, width, _ = input_shape
        return batch, height // 2, width // 2, self.filters

    def torch_names(self) -> TorchNames:
        """Name the parameters as microsoft/Swin-Transformer and timm do."""
        return {"norm": self.norm, "reduction": self.reduce}


@keras.saving.register_keras_serializable(package="attn_core")
class Swin(AttentionModel):
    """Swin Transformer: four stages of `WindowAttention`, shifted in every second block.

    Each stage has half the height and width of the one before. If the feature map of a stage is not
    larger than `window_size` in height or width, its windows have the size of the map and are not
    shifted. Arguments "of each stage" are a tuple, or one value for all four stages.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        num_heads: Number of heads of each stage; it divides `embed_dim`.
        window_size: Side of the windows of each stage, in patches.
        mlp_ratio: Width of the MLPs, as a multiple of the stage's channels.
        qkv_bias: Whether queries, keys and values have biases.
        patch_size: Side of the square patches of the first stage, in pixels.
        image_size: Side of the images in pixels, or (height, width); multiples of 8 * `patch_size`
            for which the windows of each stage divide its height and width. Multiples of
            8 * `patch_size` * `window_size` always are.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate after the patch embedding, of the attention maps and in the MLPs.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map, normalized,
        `(B, H / stride, W / stride, embed_dim[-1])` with `stride = 8 * patch_size`.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = Swin(
        ...     (8, 8, 16, 16), depths=2, num_heads=2, window_size=2, image_size=64, num_classes=10
        ... )
        >>> tuple(model(np.ones((2, 64, 64, 3))).shape)
        (2, 10)

    Reference:
        Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo, "Swin Transformer: Hierarchical Vision Transformer
        using Shifted Windows", ICCV 2021, arXiv:2103.14030. The outputs and the names of the
        parameters are the same as those of microsoft/Swin-Transformer `SwinTransformer`, and as
        those of timm's `swin_tiny_patch4_window7_224`, `swin_small_patch4_window7_224` and
        `swin_base_patch4_window7_224`. The authors' `drop_rate` also acts on the output of each
        attention.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "swin_t": {},
        "swin_s": {"depths": (2, 2, 18, 2)},
        "swin_b": {
            "embed_dim": (128, 256, 512, 1024),
            "depths": (2, 2, 18, 2),
            "num_heads": (4, 8, 16, 32),
        },
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {name: Preprocess(224, 0.9) for name in VARIANTS}

    @checked(
        per_stage=("embed_dim", "depths", "num_heads", "window_size"),
        stages=4,
        window_size=checks.integer,
    )
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (96, 192, 384, 768),
        *,
        depths: int | tuple[int, ...] = (2, 2, 6, 2),
        num_heads: int | tuple[int, ...] = (3, 6, 12, 24),
        window_size: int | tuple[int, ...] = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        patch_size: int = 4,
        image_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        for width, heads in zip(embed_dim, num_heads, strict=True):
            checks.divisible(self, "`embed_dim`", width, "num_heads", heads)
        check_sizes(self, image_size, patch_size, window_size)
        net = Graph((*image_size, in_channels), **kwargs)
        x = embed(net, embed_dim[0], patch_size, dropout)
        options = {"mlp_ratio": mlp_ratio, "qkv_bias": qkv_bias, "dropout": dropout}
        for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
            if stage:
                names = {"name": f"merging_{stage}", "torch": f"layers.{stage - 1}.downsample"}
                x = net.add(PatchMerging, embed_dim[stage], **names)(x)
            windows = {"num_heads": num_heads[stage], "window_size": window_size[stage]}
            x = blocks(net, x, stage, rates, {**windows, **options})
        x = net.stages[-1] = net.norm(x, epsilon=1e-5)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head")
        self.finish(net, x)

    def torch_names(self) -> Schemes:
        """Return the layers under the authors' names, and under timm's."""
        authors = self._torch_names
        timm = {TIMM.get(name, name): layer for name, layer in authors.items()}
        return Schemes(authors=authors, timm=timm)


def check_sizes(
    owner: Swin, image_size: tuple[int, int], patch_size: int, window_size: tuple[int, ...]
) -> None:
    """Check that the images can be halved three times, and that the windows divide each stage."""
    stride = 8 * patch_size
    for side in image_size:
        checks.divisible(owner, "`image_size`", side, "the total stride", stride)
    for stage, largest in enumerate(window_size):
        height, width = (side // (patch_size * 2**stage) for side in image_size)
        window = min(largest, height, width)
        if height % window or width % window:
            message = (
                f"the windows of each stage must divide its height and width. For this "
                f"`image_size`, stage {stage} has {height} x {width} patches, and windows of "
                f"{window} x {window}; sides that are multiples of "
                f"{stride * math.lcm(*window_size)} always fit."
            )
            raise checks.error(owner, message, f"{image_size=}, {window_size=}")


def embed(net: Graph, channels: int, patch_size: int, dropout: float) -> Tensor:
    """Return the patches of the images, normalized."""
    names = {"name": "patch_embedding", "torch": "patch_embed.proj"}
    x = net.add(patch_embedding, channels, patch_size, **names)(net.images)
    names = {"name": "patch_norm", "torch": "patch_embed.norm"}
    x = net.add(LayerNormalization, epsilon=1e-5, **names)(x)
    return net.add(layers.Dropout, dropout, name="patch_dropout")(x)


def blocks(
    net: Graph, x: Tensor, stage: int, rates: list[float], options: dict[str, Any]
) -> Tensor:
    """Return the output of the blocks of a stage."""
    for i, rate in enumerate(rates):
        names = {"name": f"stage_{stage}_block_{i}", "torch": f"layers.{stage}.blocks.{i}"}
        shift = options["window_size"] // 2 if i % 2 else 0
        x = net.add(SwinBlock, shift_size=shift, drop_path=rate, **names, **options)(x)
    net.stages.append(x)
    return x
