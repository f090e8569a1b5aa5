"""The MobileViT block."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer, TokenLayer
from attn_core.layers.blocks.parts import ConvNorm, one_or_pair, pair
from attn_core.ops.attention import attend, merge_heads, split_heads
from attn_core.ops.patches import fold, resize, round_up, unfold


@keras.saving.register_keras_serializable(package="attn_core")
class TransformerEncoder(TokenLayer):
    """Pre-norm transformer: attention, then two dense layers, each added to its input.

    Args:
        num_heads: Number of heads.
        ffn_dim: Hidden width of the two dense layers.
        dropout: Rate of the dropout on what is added.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(self, num_heads, ffn_dim, *, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.ffn_dim = ffn_dim
        self.dropout = dropout

    def build(self, input_shape):
        """Create the norms and the dense layers."""
        width = self.check_tokens(input_shape)

        def make(kind, *args, inputs=width, **options):
            layer = kind(*args, dtype=self.dtype_policy, **options)
            layer.build((None, None, inputs))
            return layer

        norm, dense = keras.layers.LayerNormalization, keras.layers.Dense
        self.attention_norm = make(norm, epsilon=1e-5, name="attention_norm")
        self.query_key_value = make(dense, 3 * width, name="query_key_value")
        self.project = make(dense, width, name="project")
        self.ffn_norm = make(norm, epsilon=1e-5, name="ffn_norm")
        self.expand = make(dense, self.ffn_dim, activation="silu", name="expand")
        self.contract = make(dense, width, inputs=self.ffn_dim, name="contract")
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="drop")

    def call(self, x, training=None):
        """Attend, then transform every token."""
        parts = ops.split(self.query_key_value(self.attention_norm(x)), 3, axis=-1)
        attended, _ = attend(*(split_heads(part, self.num_heads) for part in parts))
        x = x + self.drop(self.project(merge_heads(attended)), training=training)
        hidden = self.expand(self.ffn_norm(x))
        return x + self.drop(self.contract(hidden), training=training)

    def torch_names(self) -> dict:
        """Name the parameters as apple/ml-cvnets does."""
        return {
            "pre_norm_mha.0": self.attention_norm,
            "pre_norm_mha.1.qkv_proj": self.query_key_value,
            "pre_norm_mha.1.out_proj": self.project,
            "pre_norm_ffn.0": self.ffn_norm,
            "pre_norm_ffn.1": self.expand,
            "pre_norm_ffn.4": self.contract,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class MobileViTBlock(ImageLayer):
    r"""MobileViT block: a convolution whose inner product is a transformer over the whole image.

    A convolution looks at the neighbourhood; then the pixels that share a place in their patches
    attend to one another, so that with the neighbourhood known every pixel sees all others; a
    convolution fuses the result with the input:

    $$u = \mathrm{Conv}_{1 \times 1}(\mathrm{Conv}_{k \times k}(x)), \quad
      v = \mathrm{fold}(\mathrm{Transformer}^L(\mathrm{unfold}(u))), \quad
      y = \mathrm{Conv}_{k \times k}([x, \mathrm{Conv}_{1 \times 1}(v)])$$

    All convolutions but the one to the transformer's width end in batch normalisation and silu.
    If H or W is not a multiple of the patch, u is resized up (bilinear, half-pixel centres) and v
    back.

    Args:
        transformer_dim: Width of the transformer.
        ffn_dim: Hidden width of its dense layers; `None` = 2 * transformer_dim.
        num_blocks: Number of transformer layers.
        head_dim: Width of a head; `None` = transformer_dim // 4.
        patch_size: Height and width of a patch, an integer or a pair.
        kernel_size: Odd size of the two convolutions, an integer or a pair.
        dropout: Rate of the dropout after attention and dense layers.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        training: Whether batch statistics and dropout are used.

    Returns:
        Image of the input's shape.

    Raises:
        ValueError: If an argument is out of range, `transformer_dim` does not divide into heads, or
            the input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> MobileViTBlock(transformer_dim=32)(np.ones((2, 8, 8, 24))).shape
        (2, 8, 8, 24)

    Reference:
        Mehta, Rastegari, "MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision
        Transformer", ICLR 2022, arXiv:2110.02178; numbers as apple/ml-cvnets `MobileViTBlock`.

    Differs from the paper:
        The resizing is the authors' code's. Norms in the transformer are always over the channels;
        their `LayerNorm` takes tokens for channels whenever there happen to be as many.
        External-Attention-pytorch leaves out batch normalisation, silu and the last norm.
    """

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.transformer_dim = self.integer("transformer_dim", transformer_dim)
        self.ffn_dim = None if ffn_dim is None else self.integer("ffn_dim", ffn_dim)
        self.num_blocks = self.integer("num_blocks", num_blocks)
        self.head_dim = None if head_dim is None else self.integer("head_dim", head_dim)
        self.patch_size = one_or_pair(self, "patch_size", patch_size, self.integer)
        self.kernel_size = one_or_pair(self, "kernel_size", kernel_size, self.odd)
        self.dropout = self.rate("dropout", dropout)
        if head_dim is None:
            self.divisible("`transformer_dim`", transformer_dim, "the default number of heads", 4)
            self.num_heads = 4
        else:
            self.num_heads = self.divisible(
                "`transformer_dim`", transformer_dim, "head_dim", head_dim
            )

    def build(self, input_shape):
        """Create the convolutions and the transformer."""
        _, _, channels = self.check_image(input_shape)
        width, policy = self.transformer_dim, {"dtype": self.dtype_policy}
        ffn_dim = 2 * width if self.ffn_dim is None else self.ffn_dim
        self.local = ConvNorm(channels, self.kernel_size, name="local", **policy)
        self.widen = keras.layers.Dense(width, use_bias=False, name="widen", **policy)
        self.encoders = [
            TransformerEncoder(
                self.num_heads, ffn_dim, dropout=self.dropout, name=f"encoder_{index}", **policy
            )
            for index in range(self.num_blocks)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, name="norm", **policy)
        self.project = ConvNorm(channels, name="project", **policy)
        self.fuse = ConvNorm(channels, self.kernel_size, name="fuse", **policy)
        for layer in (*self.encoders, self.norm):
            layer.build((None, None, width))
        self.local.build((None, None, None, channels))
        self.widen.build((None, None, None, channels))
        self.project.build((None, None, None, width))
        self.fuse.build((None, None, None, 2 * channels))

    def call(self, x, training=None):
        """Convolve, let all pixels attend to one another, fuse with the input."""
        x = self.to_channels_last(x)
        image = self.widen(self.local(x, training=training))  # (B, H, W, D)
        size, patch = ops.shape(image)[1:3], pair(self.patch_size)
        rounded = round_up(size, patch)
        tokens = unfold(resize(image, rounded), patch)  # (B, P, N, D)
        tokens = ops.reshape(tokens, (-1, *ops.shape(tokens)[2:]))  # (B * P, N, D)
        for encoder in self.encoders:
            tokens = encoder(tokens, training=training)
        image = resize(fold(self.norm(tokens), rounded, patch), size)  # (B, H, W, D)
        image = self.project(image, training=training)  # (B, H, W, C)
        output = self.fuse(ops.concatenate([x, image], axis=-1), training=training)
        return self.from_channels_last(output)

    def torch_names(self) -> dict:
        """Name the parameters as apple/ml-cvnets does."""
        return {
            "local_rep.conv_3x3": self.local,
            "local_rep.conv_1x1.block.conv": self.widen,
            "global_rep": [*self.encoders, self.norm],
            "conv_proj": self.project,
            "fusion": self.fuse,
        }
