"""VAN: a network of large kernel attention."""

from typing import Any, ClassVar, Unpack

import keras
from keras import layers

from attn_core import _checks as checks
from attn_core._ops.activations import gelu
from attn_core._typing import KerasArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers import LargeKernelAttention
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization, LayerNormalization
from attn_core.models._arguments import checked
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import MLP, TransformerBlock
from attn_core.models._preprocess import Preprocess


@keras.saving.register_keras_serializable(package="attn_core")
class ConvolutionMLP(MLP):
    """MLP of an image with a depthwise 3x3 convolution before its activation, which is gelu.

    Args:
        hidden_dim: As for `MLP`.
        dropout: Rate of dropout after the activation and after the second dense layer.
        **kwargs: Keras' own layer arguments.
    """

    follows = {"depthwise": "expand"}

    def __init__(
        self, hidden_dim: int, *, dropout: float = 0.0, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(hidden_dim, activation="linear", dropout=dropout, **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Create the two dense layers and the convolution."""
        super().build(input_shape)
        hidden, image = self.hidden_dim, (*input_shape[:-1], self.hidden_dim)
        options = {"groups": hidden, "name": "depthwise"}
        self.depthwise = child(self, Conv2D, hidden, 3, shape=image, **options)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Expand, convolve, activate, reduce."""
        x = gelu(self.depthwise(self.expand(x)))
        return self.drop(self.reduce(self.drop(x, training=training)), training=training)

    def torch_names(self) -> TorchNames:
        """Name the parameters as Visual-Attention-Network/VAN-Classification does."""
        return {**super().torch_names(), "dwconv.dwconv": self.depthwise}


@keras.saving.register_keras_serializable(package="attn_core")
class VANBlock(TransformerBlock):
    """Large kernel attention and MLP, with batch norms before them.

    Args:
        **kwargs: As for `TransformerBlock`; `dropout` only acts in the MLP, and all linear maps
            have biases.
    """

    norm_class: ClassVar[type[layers.Layer]] = BatchNormalization
    scale_names: ClassVar[tuple[str, str]] = ("layer_scale_1", "layer_scale_2")

    def create_mixer(self, *, name: str, dtype: Any, **options: Any) -> layers.Layer:
        """Return large kernel attention."""
        return LargeKernelAttention(name=name, dtype=dtype, data_format="channels_last")

    def create_mlp(self, hidden_dim: int, **options: Any) -> MLP:
        """Return the MLP with a convolution."""
        return ConvolutionMLP(hidden_dim, dropout=self.dropout, **options)


@keras.saving.register_keras_serializable(package="attn_core")
class VAN(AttentionModel):
    """VAN, the visual attention network: four stages of `LargeKernelAttention`.

    Each stage begins with a strided convolution, whose windows overlap, and ends with a layer norm.
    No weight depends on the size of the image, so one model accepts images of all sizes. Arguments
    "of each stage" are a tuple, or one value for all four stages.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        mlp_ratio: Width of the MLPs of each stage, as a multiple of its `embed_dim`.
        layer_scale: Initial value of the learned scale of each branch; `None` for no scales.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate in the MLPs.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0 (0.1 in the
            authors' training, and 0.2 for `van_b3`).
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
        >>> model = VAN((8, 8, 16, 16), depths=1, mlp_ratio=2, num_classes=10)
        >>> tuple(model(np.ones((2, 64, 50, 3))).shape)
        (2, 10)

    Reference:
        Guo, Lu, Liu, Cheng, Hu, "Visual Attention Network", CVMJ 2023, arXiv:2202.09741. The
        outputs and the names of the parameters are the same as those of
        Visual-Attention-Network/VAN-Classification `van_b0` to `van_b3`.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "van_b0": {},
        "van_b1": {"embed_dim": (64, 128, 320, 512), "depths": (2, 2, 4, 2)},
        "van_b2": {"embed_dim": (64, 128, 320, 512), "depths": (3, 3, 12, 3)},
        "van_b3": {"embed_dim": (64, 128, 320, 512), "depths": (3, 5, 27, 3)},
    }

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {
        name: Preprocess(224, 0.9, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)) for name in VARIANTS
    }

    @checked(per_stage=("embed_dim", "depths", "mlp_ratio"), stages=4)
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (32, 64, 160, 256),
        *,
        depths: int | tuple[int, ...] = (3, 3, 5, 2),
        mlp_ratio: float | tuple[float, ...] = (8, 8, 4, 4),
        layer_scale: float | None = 1e-2,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        for width, ratio in zip(embed_dim, mlp_ratio, strict=True):
            checks.integer(self, "mlp_ratio * embed_dim", int(ratio * width))
        net = Graph((None, None, in_channels), **kwargs)
        x, block = net.images, {"layer_scale": layer_scale, "dropout": dropout}
        for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
            x = embedding(net, x, stage, embed_dim[stage])
            block["mlp_ratio"] = mlp_ratio[stage]
            for i, rate in enumerate(rates):
                names = {"name": f"stage_{stage}_block_{i}", "torch": f"block{stage + 1}.{i}"}
                x = net.add(VANBlock, drop_path=rate, **names, **block)(x)
            names = {"name": f"stage_{stage}_norm", "torch": f"norm{stage + 1}"}
            x = net.add(LayerNormalization, epsilon=1e-6, **names)(x)
            net.stages.append(x)
        if include_top:
            x = net.classify(net.pool(x), num_classes, torch="head")
        self.finish(net, x)


def embedding(net: Graph, x: Tensor, stage: int, width: int) -> Tensor:
    """Return images at a quarter of their size, or at half for later stages: conv and norm."""
    size, strides = (3, 2) if stage else (7, 4)
    ours = f"stage_{stage}_embedding" if stage else "stem"
    theirs = f"patch_embed{stage + 1}"
    x = net.add(Conv2D, width, size, strides=strides, name=ours, torch=f"{theirs}.proj")(x)
    return net.add(BatchNormalization, name=f"{ours}_norm", torch=f"{theirs}.norm")(x)
