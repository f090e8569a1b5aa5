"""The MobileViTv2 block."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.patches import resize, round_up
from attn_core._ops.streams import stream
from attn_core._ops.windows import from_windows, to_windows
from attn_core._typing import ImageArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers._base import AttentionLayer, ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._normalization import GroupNormalization
from attn_core.layers.blocks._parts import ConvNorm, pair
from attn_core.layers.tokens._separable import SeparableSelfAttention


@keras.saving.register_keras_serializable(package="attn_core")
class SeparableEncoder(AttentionLayer):
    """Pre-norm transformer with separable self-attention, over patches `(B, P, N, C)`.

    Args:
        ffn_dim: Hidden width of the two dense layers.
        dropout: Rate of the dropout on what is added.
        **kwargs: Keras' own layer arguments.
    """

    split = {"contract": "inputs"}

    def __init__(
        self, ffn_dim: int, *, dropout: float = 0.0, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.ffn_dim = ffn_dim
        self.dropout = dropout

    def build(self, input_shape: Shape) -> None:
        """Create the norms, the attention and the dense layers."""
        width, shape = input_shape[-1], (None, None, None, input_shape[-1])
        self.attention_norm: keras.layers.Layer = child(
            self, GroupNormalization, shape=shape, name="attention_norm"
        )
        self.attention: SeparableSelfAttention = child(
            self, SeparableSelfAttention, shape=shape, name="attention"
        )
        self.ffn_norm: keras.layers.Layer = child(
            self, GroupNormalization, shape=shape, name="ffn_norm"
        )
        self.expand: keras.layers.Dense = dense(
            self, width, self.ffn_dim, "expand", activation="silu"
        )
        self.contract: keras.layers.Dense = dense(self, self.ffn_dim, width, "contract")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Attend, then transform every token."""
        x = stream(x)
        attended = self.attention(self.attention_norm(x), training=training)
        x = x + self.drop(attended, training=training)
        hidden = self.expand(self.ffn_norm(x))
        return x + self.drop(self.contract(hidden), training=training)

    def torch_names(self) -> Schemes:
        """Name the parameters as apple/ml-cvnets `LinearAttnFFN` does, or as timm does."""
        authors: TorchNames = {
            "pre_norm_attn.0": self.attention_norm,
            "pre_norm_attn.1": self.attention,
            "pre_norm_ffn.0": self.ffn_norm,
            "pre_norm_ffn.1.block.conv": self.expand,
            "pre_norm_ffn.3.block.conv": self.contract,
        }
        timm: TorchNames = {
            "norm1": self.attention_norm,
            "attn": self.attention,
            "norm2": self.ffn_norm,
            "mlp.fc1": self.expand,
            "mlp.fc2": self.contract,
        }
        return Schemes(authors=authors, timm=timm)


@keras.saving.register_keras_serializable(package="attn_core")
class MobileViTv2Block(ImageLayer):
    r"""MobileViTv2 block: a depthwise convolution, then separable self-attention over the image.

    The convolution encodes the neighbourhood of each pixel. Then the pixels that have the same
    place in their patches attend to each other, in linear time. The result is not combined with the
    input:

    $$u = \mathrm{Conv}_{1 \times 1}(\mathrm{DWConv}_{k \times k}(x)), \quad
      y = \mathrm{BN}(\mathrm{Conv}_{1 \times 1}(
      \mathrm{fold}(\mathrm{Transformer}^L(\mathrm{unfold}(u)))))$$

    Batch normalisation and silu follow the depthwise convolution; the norms of the transformer are
    over channels, pixels and patches together. If H or W is not a multiple of the patch size, x is
    first enlarged to one (bilinear, corners aligned), and the output has this larger size.

    Args:
        transformer_dim: Width of the transformer.
        ffn_dim: Hidden width of its dense layers; `None` = 2 * transformer_dim, rounded down to a
            multiple of 16.
        num_blocks: Number of transformer layers.
        patch_size: Height and width of a patch, an integer or a pair.
        kernel_size: Odd size of the convolution, an integer or a pair.
        dropout: Rate of the dropout after the attention and after the dense layers.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the batch's statistics, and dropout acts.

    Returns:
        Image of the input's shape, with H and W rounded up to multiples of the patch.

    Raises:
        ValueError: If an argument is out of range, `transformer_dim` is below 8 and `ffn_dim` is
            not given, or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> MobileViTv2Block(transformer_dim=32)(np.ones((2, 7, 8, 24))).shape
        (2, 8, 8, 24)

    Reference:
        arXiv:2206.02680. The outputs are the same as those of apple/ml-cvnets `MobileViTBlockv2`.

    Differs from the paper:
        As in the authors' code, the norms of the transformer are group norms with one group, where
        the paper says layer norm.
    """

    split = {"project": "inputs"}

    one_column = False

    def __init__(
        self,
        transformer_dim: int = 128,
        *,
        ffn_dim: int | None = None,
        num_blocks: int = 2,
        patch_size: int | tuple[int, int] = 2,
        kernel_size: int | tuple[int, int] = 3,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        least = 8 if ffn_dim is None else 1
        self.transformer_dim: int = checks.integer(self, "transformer_dim", transformer_dim, least)
        self.ffn_dim: int | None = checks.optional(checks.integer, self, "ffn_dim", ffn_dim)
        self.num_blocks: int = checks.integer(self, "num_blocks", num_blocks)
        self.patch_size: int | tuple[int, ...] = checks.one_or_pair(
            self, "patch_size", patch_size, checks.integer
        )
        self.kernel_size: int | tuple[int, ...] = checks.one_or_pair(
            self, "kernel_size", kernel_size, checks.odd
        )
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions and the transformer."""
        _, _, channels = self.check_image(input_shape)
        width = self.transformer_dim
        narrow_image, wide_image = (None, None, None, channels), (None, None, None, width)
        ffn_dim = 2 * width // 16 * 16 if self.ffn_dim is None else self.ffn_dim
        self.local: keras.layers.Layer = child(
            self,
            ConvNorm,
            channels,
            self.kernel_size,
            shape=narrow_image,
            groups=channels,
            name="local",
        )
        self.widen: keras.layers.Dense = dense(self, channels, width, "widen", use_bias=False)
        self.encoders: list[SeparableEncoder] = [
            child(
                self,
                SeparableEncoder,
                ffn_dim,
                shape=wide_image,
                dropout=self.dropout,
                name=f"encoder_{index}",
            )
            for index in range(self.num_blocks)
        ]
        self.norm: keras.layers.Layer = child(
            self, GroupNormalization, shape=wide_image, name="norm"
        )
        self.project: keras.layers.Layer = child(
            self, ConvNorm, channels, shape=wide_image, activation=None, name="project"
        )

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Convolve, then let all pixels attend to each other."""
        x, patch = self.to_channels_last(x), pair(self.patch_size)
        size = round_up(ops.shape(x)[1:3], patch)
        x = resize(x, size, align_corners=True)
        x = self.widen(self.local(x, training=training))  # (B, H, W, D)
        x = to_windows(x, patch)  # (B, P, N, D)
        for encoder in self.encoders:
            x = encoder(x, training=training)
        x = from_windows(self.norm(x), patch, *size)  # (B, H, W, D)
        return self.from_channels_last(self.project(x, training=training))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape, rounded up to whole patches."""
        batch, *size, channels = self.channels_last_shape(input_shape)
        size = (
            None if length is None else -(-length // patch) * patch
            for length, patch in zip(size, pair(self.patch_size), strict=True)
        )
        return self.from_channels_last_shape((batch, *size, channels))

    def torch_names(self) -> Schemes:
        """Name the parameters as apple/ml-cvnets does, or as timm does."""
        authors: TorchNames = {
            "local_rep.0": self.local,
            "local_rep.1.block.conv": self.widen,
            "global_rep": [*self.encoders, self.norm],
            "conv_proj": self.project,
        }
        timm: TorchNames = {
            "conv_kxk": self.local,
            "conv_1x1": self.widen,
            "transformer": self.encoders,
            "norm": self.norm,
            "conv_proj": self.project,
        }
        return Schemes(authors=authors, timm=timm)
