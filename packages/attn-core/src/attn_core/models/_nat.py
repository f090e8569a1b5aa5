"""NAT: a vision transformer whose attention is that of the nearest neighbours."""

from functools import partial
from typing import Any, ClassVar, Unpack

import keras
from keras import layers

from attn_core import _checks as checks
from attn_core._typing import KerasArguments, Tensor
from attn_core.layers import NeighborhoodAttention
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import LayerNormalization
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import TransformerBlock
from attn_core.models._preprocess import Preprocess


@keras.saving.register_keras_serializable(package="attn_core")
class NATBlock(TransformerBlock):
    """Neighbourhood attention and MLP.

    Args:
        num_heads: Number of heads; it divides C.
        kernel_size: Odd side of the windows of the attention, at least 3.
        **kwargs: As for `TransformerBlock`; `dropout` acts after the attention and in the MLP.
    """

    drops_output: ClassVar[bool] = True

    def __init__(self, num_heads: int, *, kernel_size: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.kernel_size = kernel_size

    def create_mixer(self, **options: Any) -> layers.Layer:
        """Return neighbourhood attention."""
        sizes = {"num_heads": self.num_heads, "data_format": "channels_last"}
        return NeighborhoodAttention(self.kernel_size, **sizes, **options)


@keras.saving.register_keras_serializable(package="attn_core")
class NAT(AttentionModel):
    """NAT, the neighbourhood attention transformer: four stages of `NeighborhoodAttention`.

    The first stage begins with two strided 3x3 convolutions, and each later stage with one. No
    weight depends on the size of the image, so one model accepts images of all sizes. Arguments "of
    each stage" are a tuple, or one value for all four stages.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        num_heads: Number of attention heads of each stage; it divides `embed_dim`.
        kernel_size: Odd side of the windows of the attention of each stage, at least 3. Maps with
            shorter sides are padded within the attention, as `NeighborhoodAttention` says.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its `embed_dim`.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        layer_scale: Initial value of the learned scale of each branch; `None` for no scales.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate before the first block, after the attention and in the MLPs.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0 (in the authors'
            training 0.2, 0.3 for `nat_small` and 0.5 for `nat_base`).
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`; H and W may be dynamic. Published at 224 x 224.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map, normalised,
        `(B, H / 32, W / 32, embed_dim[-1])`, sides rounded up.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> small = {"depths": 1, "num_heads": 2, "kernel_size": 3}
        >>> model = NAT((8, 8, 16, 16), num_classes=10, **small)
        >>> tuple(model(np.ones((2, 64, 50, 3))).shape)
        (2, 10)

    Reference:
        Hassani, Walton, Li, Li, Shi, "Neighborhood Attention Transformer", CVPR 2023,
        arXiv:2204.07143. The outputs and the names of the parameters are the same as those of
        SHI-Labs/Neighborhood-Attention-Transformer `nat_mini` to `nat_base`.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "nat_mini": {},
        "nat_tiny": {"depths": (3, 4, 18, 5)},
        "nat_small": {
            "embed_dim": (96, 192, 384, 768),
            "depths": (3, 4, 18, 5),
            "num_heads": (3, 6, 12, 24),
            "mlp_ratio": 2,
            "layer_scale": 1e-5,
        },
        "nat_base": {
            "embed_dim": (128, 256, 512, 1024),
            "depths": (3, 4, 18, 5),
            "num_heads": (4, 8, 16, 32),
            "mlp_ratio": 2,
            "layer_scale": 1e-5,
        },
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {name: Preprocess(224) for name in VARIANTS}

    @checked(
        per_stage=("embed_dim", "depths", "num_heads", "kernel_size", "mlp_ratio"),
        stages=4,
        kernel_size=partial(checks.odd, minimum=3),
    )
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (64, 128, 256, 512),
        *,
        depths: int | tuple[int, ...] = (3, 4, 6, 5),
        num_heads: int | tuple[int, ...] = (2, 4, 8, 16),
        kernel_size: int | tuple[int, ...] = 7,
        mlp_ratio: float | tuple[float, ...] = 3,
        qkv_bias: bool = True,
        layer_scale: float | None = None,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        checks.integer(self, "embed_dim[0]", embed_dim[0], 2)  # the stem starts with half of it
        for width, heads, ratio in zip(embed_dim, num_heads, mlp_ratio, strict=True):
            checks.divisible(self, "`embed_dim`", width, "num_heads", heads)
            checks.integer(self, "mlp_ratio * embed_dim", int(ratio * width))
        net = Graph((None, None, in_channels), **kwargs)
        x = stem(net, embed_dim[0])
        x = net.add(layers.Dropout, dropout, name="stem_dropout")(x)
        block = {"qkv_bias": qkv_bias, "layer_scale": layer_scale, "dropout": dropout}
        for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
            if stage > 0:
                x = downsampling(net, x, stage, embed_dim[stage])
            block |= {"kernel_size": kernel_size[stage], "mlp_ratio": mlp_ratio[stage]}
            for i, rate in enumerate(rates):
                theirs = f"levels.{stage}.blocks.{i}"
                names = {"name": f"stage_{stage}_block_{i}", "torch": theirs}
                x = net.add(NATBlock, num_heads[stage], drop_path=rate, **names, **block)(x)
            net.stages.append(x)
        x = net.stages[-1] = net.norm(x, epsilon=1e-5)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head")
        self.finish(net, x)


def stem(net: Graph, width: int) -> Tensor:
    """Return images at a quarter of their size: two convolutions and a norm."""
    x = net.images
    for i, channels in enumerate((width // 2, width)):
        names = {"name": f"stem_conv_{i}", "torch": f"patch_embed.proj.{i}"}
        x = net.add(Conv2D, channels, 3, strides=2, **names)(x)
    norm = {"epsilon": 1e-5, "name": "stem_norm", "torch": "patch_embed.norm"}
    return net.add(LayerNormalization, **norm)(x)


def downsampling(net: Graph, x: Tensor, stage: int, width: int) -> Tensor:
    """Return an image at half its size, for the next stage: a convolution and a norm."""
    ours, theirs = f"stage_{stage}_downsampling", f"levels.{stage - 1}.downsample"
    conv = {"strides": 2, "use_bias": False, "torch": f"{theirs}.reduction"}
    x = net.add(Conv2D, width, 3, name=ours, **conv)(x)
    norm = {"epsilon": 1e-5, "name": f"{ours}_norm", "torch": f"{theirs}.norm"}
    return net.add(LayerNormalization, **norm)(x)
