"""The MobileViTv2 block."""

import keras
from keras import ops

from attn_core.layers.base import AttentionLayer, ImageLayer
from attn_core.layers.blocks.parts import ConvNorm, one_or_pair, pair
from attn_core.layers.normalization import GroupNormalization
from attn_core.layers.tokens.separable import SeparableSelfAttention
from attn_core.ops.patches import fold, resize, round_up, unfold


@keras.saving.register_keras_serializable(package="attn_core")
class SeparableEncoder(AttentionLayer):
    """Pre-norm transformer with separable self-attention, over patches `(B, P, N, C)`.

    Args:
        ffn_dim: Hidden width of the two dense layers.
        dropout: Rate of the dropout on what is added.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(self, ffn_dim, *, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.ffn_dim = ffn_dim
        self.dropout = dropout

    def build(self, input_shape):
        """Create the norms, the attention and the dense layers."""
        width, policy = input_shape[-1], {"dtype": self.dtype_policy}
        self.attention_norm = GroupNormalization(name="attention_norm", **policy)
        self.attention = SeparableSelfAttention(name="attention", **policy)
        self.ffn_norm = GroupNormalization(name="ffn_norm", **policy)
        self.expand = keras.layers.Dense(self.ffn_dim, "silu", name="expand", **policy)
        self.contract = keras.layers.Dense(width, name="contract", **policy)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", **policy)
        for layer in (self.attention_norm, self.attention, self.ffn_norm, self.expand):
            layer.build((None, None, None, width))
        self.contract.build((None, None, None, self.ffn_dim))

    def call(self, x, training=None):
        """Attend, then transform every token."""
        attended = self.attention(self.attention_norm(x), training=training)
        x = x + self.drop(attended, training=training)
        hidden = self.expand(self.ffn_norm(x))
        return x + self.drop(self.contract(hidden), training=training)

    def torch_names(self) -> dict:
        """Name the parameters as apple/ml-cvnets `LinearAttnFFN` does."""
        return {
            "pre_norm_attn.0": self.attention_norm,
            "pre_norm_attn.1": self.attention,
            "pre_norm_ffn.0": self.ffn_norm,
            "pre_norm_ffn.1.block.conv": self.expand,
            "pre_norm_ffn.3.block.conv": self.contract,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class MobileViTv2Block(ImageLayer):
    r"""MobileViTv2 block: a light convolution, then separable self-attention over the image.

    A depthwise convolution looks at the neighbourhood; then the pixels that share a place in their
    patches attend to one another, in linear time. There is no fusion with the input:

    $$u = \mathrm{Conv}_{1 \times 1}(\mathrm{DWConv}_{k \times k}(x)), \quad
      y = \mathrm{BN}(\mathrm{Conv}_{1 \times 1}(
      \mathrm{fold}(\mathrm{Transformer}^L(\mathrm{unfold}(u)))))$$

    The depthwise convolution ends in batch normalisation and silu; the norms of the transformer go
    over channels, pixels and patches together. If H or W is not a multiple of the patch, x is
    resized up first (bilinear, corners aligned), and the output keeps that size.

    Args:
        transformer_dim: Width of the transformer.
        ffn_dim: Hidden width of its dense layers; `None` = 2 * transformer_dim, rounded down to a
            multiple of 16.
        num_blocks: Number of transformer layers.
        patch_size: Height and width of a patch, an integer or a pair.
        kernel_size: Odd size of the convolution, an integer or a pair.
        dropout: Rate of the dropout after attention and dense layers.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether batch statistics and dropout are used.

    Returns:
        Image of the input's shape, with H and W rounded up to multiples of the patch.

    Raises:
        ValueError: If an argument is out of range, `transformer_dim` is below 8 and `ffn_dim` not
            given, or the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> MobileViTv2Block(transformer_dim=32)(np.ones((2, 7, 8, 24))).shape
        (2, 8, 8, 24)

    Reference:
        Mehta, Rastegari, "Separable Self-attention for Mobile Vision Transformers", TMLR 2023,
        arXiv:2206.02680; numbers as apple/ml-cvnets `MobileViTBlockv2`.

    Differs from the paper:
        As in the authors' code, norms are group norms with one group, where the paper says layer
        norm.
    """

    def __init__(
        self,
        transformer_dim: int = 128,
        *,
        ffn_dim: int | None = None,
        num_blocks: int = 2,
        patch_size: int | tuple[int, int] = 2,
        kernel_size: int | tuple[int, int] = 3,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        least = 8 if ffn_dim is None else 1
        self.transformer_dim = self.integer("transformer_dim", transformer_dim, least)
        self.ffn_dim = None if ffn_dim is None else self.integer("ffn_dim", ffn_dim)
        self.num_blocks = self.integer("num_blocks", num_blocks)
        self.patch_size = one_or_pair(self, "patch_size", patch_size, self.integer)
        self.kernel_size = one_or_pair(self, "kernel_size", kernel_size, self.odd)
        self.dropout = self.rate("dropout", dropout)

    def build(self, input_shape):
        """Create the convolutions and the transformer."""
        _, _, channels = self.check_image(input_shape)
        width, policy = self.transformer_dim, {"dtype": self.dtype_policy}
        ffn_dim = 2 * width // 16 * 16 if self.ffn_dim is None else self.ffn_dim
        self.local = ConvNorm(channels, self.kernel_size, groups=channels, name="local", **policy)
        self.widen = keras.layers.Dense(width, use_bias=False, name="widen", **policy)
        self.encoders = [
            SeparableEncoder(ffn_dim, dropout=self.dropout, name=f"encoder_{index}", **policy)
            for index in range(self.num_blocks)
        ]
        self.norm = GroupNormalization(name="norm", **policy)
        self.project = ConvNorm(channels, activation=None, name="project", **policy)
        for layer in (self.local, self.widen):
            layer.build((None, None, None, channels))
        for layer in (*self.encoders, self.norm, self.project):
            layer.build((None, None, None, width))

    def call(self, x, training=None):
        """Convolve, then let all pixels attend to one another."""
        x, patch = self.to_channels_last(x), pair(self.patch_size)
        size = round_up(ops.shape(x)[1:3], patch)
        x = resize(x, size, align_corners=True)
        x = self.widen(self.local(x, training=training))  # (B, H, W, D)
        x = unfold(x, patch)  # (B, P, N, D)
        for encoder in self.encoders:
            x = encoder(x, training=training)
        x = fold(self.norm(x), size, patch)  # (B, H, W, D)
        return self.from_channels_last(self.project(x, training=training))

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape, rounded up to whole patches."""
        batch, *size, channels = self.channels_last_shape(input_shape)
        size = (
            None if length is None else -(-length // patch) * patch
            for length, patch in zip(size, pair(self.patch_size), strict=True)
        )
        return self.own_shape((batch, *size, channels))

    def torch_names(self) -> dict:
        """Name the parameters as apple/ml-cvnets does."""
        return {
            "local_rep.0": self.local,
            "local_rep.1.block.conv": self.widen,
            "global_rep": [*self.encoders, self.norm],
            "conv_proj": self.project,
        }
