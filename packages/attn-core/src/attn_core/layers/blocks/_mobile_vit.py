"""The MobileViT block."""

from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._ops.patches import resize, round_up
from attn_core._ops.streams import stream
from attn_core._ops.windows import from_windows, to_windows
from attn_core._typing import ImageArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers._base import AttentionLayer, ImageLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention
from attn_core.layers._normalization import LayerNormalization
from attn_core.layers.blocks._parts import ConvNorm, pair


@keras.saving.register_keras_serializable(package="attn_core")
class TransformerEncoder(AttentionLayer):
    """Pre-norm transformer over patches `(B, P, N, C)`: each pixel attends to those of its place.

    Attention, then two dense layers, each added to its input. The map of the attention is
    `(B, P * heads, N, N)`.

    Args:
        num_heads: Number of heads.
        ffn_dim: Hidden width of the two dense layers.
        dropout: Rate of the dropout on what is added.
        **kwargs: Keras' own layer arguments.
    """

    maps = (Attention("pixel and head"),)
    split = {"query_key_value": "heads", "project": "head inputs", "contract": "inputs"}

    def __init__(
        self,
        num_heads: int,
        ffn_dim: int,
        *,
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.ffn_dim = ffn_dim
        self.dropout = dropout

    def build(self, input_shape: Shape) -> None:
        """Create the norms and the dense layers."""
        width = input_shape[-1]
        norm = {"shape": (None, None, width), "epsilon": 1e-5}
        self.attention_norm: LayerNormalization = child(
            self, LayerNormalization, name="attention_norm", **norm
        )
        self.query_key_value: keras.layers.Dense = dense(self, width, 3 * width, "query_key_value")
        self.project: keras.layers.Dense = dense(self, width, width, "project")
        self.ffn_norm: LayerNormalization = child(self, LayerNormalization, name="ffn_norm", **norm)
        self.expand: keras.layers.Dense = dense(
            self, width, self.ffn_dim, "expand", activation="silu"
        )
        self.contract: keras.layers.Dense = dense(self, self.ffn_dim, width, "contract")
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Attend, then transform every token."""
        _, pixels, patches, width = ops.shape(x)
        x = ops.reshape(stream(x), (-1, patches, width))  # (B * P, N, C)
        parts = ops.split(self.query_key_value(self.attention_norm(x)), 3, axis=-1)
        attended, attention = attend(
            *(split_heads(part, self.num_heads) for part in parts),
            return_attention_scores=return_attention_scores,
        )
        x = x + self.drop(self.project(merge_heads(attended)), training=training)
        hidden = self.expand(self.ffn_norm(x))
        x = x + self.drop(self.contract(hidden), training=training)
        if attention is not None:
            shape = (-1, pixels * self.num_heads, patches, patches)
            attention = ops.reshape(attention, shape)
        x = ops.reshape(x, (-1, pixels, patches, width))
        return self.result(x, attention, return_attention_scores)

    def torch_names(self) -> Schemes:
        """Name the parameters as apple/ml-cvnets does, or as timm does."""
        authors: TorchNames = {
            "pre_norm_mha.0": self.attention_norm,
            "pre_norm_mha.1.qkv_proj": self.query_key_value,
            "pre_norm_mha.1.out_proj": self.project,
            "pre_norm_ffn.0": self.ffn_norm,
            "pre_norm_ffn.1": self.expand,
            "pre_norm_ffn.4": self.contract,
        }
        timm: TorchNames = {
            "norm1": self.attention_norm,
            "attn.qkv": self.query_key_value,
            "attn.proj": self.project,
            "norm2": self.ffn_norm,
            "mlp.fc1": self.expand,
            "mlp.fc2": self.contract,
        }
        return Schemes(authors=authors, timm=timm)


@keras.saving.register_keras_serializable(package="attn_core")
class MobileViTBlock(ImageLayer):
    r"""MobileViT block: convolutions around a transformer over the whole image.

    A convolution encodes the neighbourhood of each pixel. Then the pixels that have the same place
    in their patches attend to each other. Each of them contains information about its
    neighbourhood, so every pixel receives information from all others. A last convolution combines
    the result with the input:

    $$u = \mathrm{Conv}_{1 \times 1}(\mathrm{Conv}_{k \times k}(x)), \quad
      v = \mathrm{fold}(\mathrm{Transformer}^L(\mathrm{unfold}(u))), \quad
      y = \mathrm{Conv}_{k \times k}([x, \mathrm{Conv}_{1 \times 1}(v)])$$

    Batch normalisation and silu follow all convolutions except the one to the transformer's width.
    If H or W is not a multiple of the patch size, u is enlarged to one (bilinear, half-pixel
    centres), and v is resized back.

    Args:
        transformer_dim: Width of the transformer.
        ffn_dim: Hidden width of its dense layers; `None` = 2 * transformer_dim.
        num_blocks: Number of transformer layers.
        head_dim: Width of a head; `None` = transformer_dim // 4.
        patch_size: Height and width of a patch, an integer or a pair.
        kernel_size: Odd size of the two convolutions, an integer or a pair.
        dropout: Rate of the dropout after the attention and after the dense layers.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether BatchNormalization uses the batch's statistics, and dropout acts.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If an argument is out of range, `transformer_dim` is not a multiple of the width
            or number of heads, or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> MobileViTBlock(transformer_dim=32)(np.ones((2, 8, 8, 24))).shape
        (2, 8, 8, 24)

    Reference:
        arXiv:2110.02178. The outputs are the same as those of apple/ml-cvnets `MobileViTBlock`.

    Differs from the paper:
        The image is resized as in the authors' code. The norms of the transformer are always over
        the channels; the authors' `LayerNorm` normalises over the tokens instead if there are as
        many tokens as channels. External-Attention-pytorch leaves out batch normalisation, silu and
        the last norm.
    """

    split = {"project": "inputs"}

    def __init__(
        self,
        transformer_dim: int = 144,
        *,
        ffn_dim: int | None = None,
        num_blocks: int = 2,
        head_dim: int | None = None,
        patch_size: int | tuple[int, int] = 2,
        kernel_size: int | tuple[int, int] = 3,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.transformer_dim: int = checks.integer(self, "transformer_dim", transformer_dim)
        self.ffn_dim: int | None = checks.optional(checks.integer, self, "ffn_dim", ffn_dim)
        self.num_blocks: int = checks.integer(self, "num_blocks", num_blocks)
        self.head_dim: int | None = checks.optional(checks.integer, self, "head_dim", head_dim)
        self.patch_size: int | tuple[int, ...] = checks.one_or_pair(
            self, "patch_size", patch_size, checks.integer
        )
        self.kernel_size: int | tuple[int, ...] = checks.one_or_pair(
            self, "kernel_size", kernel_size, checks.odd
        )
        self.dropout: float = checks.rate(self, "dropout", dropout)
        if head_dim is None:
            checks.divisible(
                self, "`transformer_dim`", transformer_dim, "the default number of heads", 4
            )
            self._num_heads = 4
        else:
            self._num_heads = checks.divisible(
                self, "`transformer_dim`", transformer_dim, "head_dim", head_dim
            )

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions and the transformer."""
        _, _, channels = self.check_image(input_shape)
        width, any_image = self.transformer_dim, (None, None, None)
        ffn_dim = 2 * width if self.ffn_dim is None else self.ffn_dim
        self.local: keras.layers.Layer = child(
            self,
            ConvNorm,
            channels,
            self.kernel_size,
            shape=(*any_image, channels),
            name="local",
        )
        self.widen: keras.layers.Dense = dense(self, channels, width, "widen", use_bias=False)
        self.encoders: list[TransformerEncoder] = [
            child(
                self,
                TransformerEncoder,
                self._num_heads,
                ffn_dim,
                shape=(None, None, None, width),
                dropout=self.dropout,
                name=f"encoder_{index}",
            )
            for index in range(self.num_blocks)
        ]
        self.norm: LayerNormalization = child(
            self,
            LayerNormalization,
            shape=(None, None, None, width),
            epsilon=1e-5,
            name="norm",
        )
        self.project: keras.layers.Layer = child(
            self, ConvNorm, channels, shape=(*any_image, width), name="project"
        )
        self.fuse: keras.layers.Layer = child(
            self,
            ConvNorm,
            channels,
            self.kernel_size,
            shape=(*any_image, 2 * channels),
            name="fuse",
        )

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Convolve, let all pixels attend to each other, fuse with the input."""
        x = self.to_channels_last(x)
        image = self.widen(self.local(x, training=training))  # (B, H, W, D)
        size, patch = ops.shape(image)[1:3], pair(self.patch_size)
        rounded = round_up(size, patch)
        tokens = to_windows(resize(image, rounded), patch)  # (B, P, N, D)
        for encoder in self.encoders:
            tokens = encoder(tokens, training=training)
        image = resize(from_windows(self.norm(tokens), patch, *rounded), size)  # (B, H, W, D)
        image = self.project(image, training=training)  # (B, H, W, C)
        output = self.fuse(ops.concatenate([x, image], axis=-1), training=training)
        return self.from_channels_last(output)

    def torch_names(self) -> Schemes:
        """Name the parameters as apple/ml-cvnets does, or as timm does."""
        authors: TorchNames = {
            "local_rep.conv_3x3": self.local,
            "local_rep.conv_1x1.block.conv": self.widen,
            "global_rep": [*self.encoders, self.norm],
            "conv_proj": self.project,
            "fusion": self.fuse,
        }
        timm: TorchNames = {
            "conv_kxk": self.local,
            "conv_1x1": self.widen,
            "transformer": self.encoders,
            "norm": self.norm,
            "conv_proj": self.project,
            "conv_fusion": self.fuse,
        }
        return Schemes(authors=authors, timm=timm)
