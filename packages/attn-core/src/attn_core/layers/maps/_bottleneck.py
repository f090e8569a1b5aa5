"""Bottleneck self-attention (BoTNet)."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._ops.precision import upcast
from attn_core._ops.relative import relative_scores
from attn_core._ops.tokens import to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor
from attn_core._weights.entries import Schemes, stacked
from attn_core.layers._base import ImageLayer, Split, positions
from attn_core.layers._children import dense
from attn_core.layers._maps import Attention, Map
from attn_core.layers._widths import multiple_of_8


@keras.saving.register_keras_serializable(package="attn_core")
class BottleneckSelfAttention(ImageLayer):
    r"""Bottleneck self-attention: every position attends to all, by content and by offset.

    The layer learns one vector for each offset in rows and one for each offset in columns. The
    score of a key is the dot product of the query with the key, plus that of the query with the
    vectors of the key's offset:

    $$y_i = \sum_j \mathrm{softmax}_j\Big(\frac{q_i \cdot k_j}{\sqrt d}
        + q_i \cdot (r^{\mathrm{row}}_{j-i} + r^{\mathrm{column}}_{j-i})\Big)\, v_j$$

    q, k and v are linear maps of the pixels. Queries and keys of a head have d channels, its values
    `output_dim / num_heads`; the outputs of the heads are concatenated, without a further linear
    map. The heads share the vectors r, which are initialised from a normal distribution with a
    standard deviation of $1 / \sqrt{d}$.

    Args:
        num_heads: Number of heads; divides `output_dim`.
        key_dim: Width d of the queries and keys of a head; `None` = output_dim //
            num_heads, where output_dim is first rounded to a multiple of 8.
        output_dim: Number of output channels; `None` = C.
        qkv_bias: Whether queries, keys and values have biases.
        scale_pos_embed: Whether the scores of the offsets are also divided by $\sqrt{d}$.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W are fixed once the layer is built.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image, `(B, H, W, output_dim)` or `(B, output_dim, H, W)`; with
        `return_attention_scores=True` also the map, `(B, num_heads, H * W, H * W)`, queries before
        keys.

    Raises:
        ValueError: If an argument is out of its range, `num_heads` does not divide the output
            channels, or the input is not an image of known height, width and number of channels.

    Example:
        >>> import numpy as np
        >>> BottleneckSelfAttention(num_heads=4)(np.ones((2, 7, 5, 32))).shape
        (2, 7, 5, 32)

    Reference:
        arXiv:2101.11605. The outputs are the same as those of huggingface/pytorch-image-models
        `BottleneckAttn`, stride 1.

    Differs from the paper:
        The paper divides all scores by $\sqrt{d}$. As in the reference, those of the offsets are
        divided only with `scale_pos_embed`, and the default `key_dim` is computed from a multiple
        of 8. With stride 2 the reference averages 2 x 2 pixels of the output; for this, add a
        `keras.layers.AveragePooling2D`.
    """

    maps: ClassVar[tuple[Map, ...]] = (Attention(),)
    split: ClassVar[dict[str, Split]] = {"query": "heads", "key": "heads", "value": "heads"}

    def __init__(
        self,
        num_heads: int = 4,
        *,
        key_dim: int | None = None,
        output_dim: int | None = None,
        qkv_bias: bool = False,
        scale_pos_embed: bool = False,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.key_dim: int | None = checks.optional(checks.integer, self, "key_dim", key_dim)
        self.output_dim: int | None = checks.optional(
            checks.integer, self, "output_dim", output_dim
        )
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.scale_pos_embed: bool = checks.flag(self, "scale_pos_embed", scale_pos_embed)

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps and the vectors of the offsets."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        self._size = (height, width)
        outputs = self.output_dim or channels
        checks.divisible(self, "output_dim", outputs, "num_heads", self.num_heads)
        self._key_width: int = self.key_dim or default_key_dim(self, outputs)
        keys, bias = self.num_heads * self._key_width, {"use_bias": self.qkv_bias}
        self.query: keras.layers.Dense = dense(self, channels, keys, "query", **bias)
        self.key: keras.layers.Dense = dense(self, channels, keys, "key", **bias)
        self.value: keras.layers.Dense = dense(self, channels, outputs, "value", **bias)
        options = {
            "initializer": keras.initializers.RandomNormal(stddev=self._key_width**-0.5),
            "autocast": False,  # each vector serves many pairs: gradients add up in float32
        }
        self.rows: keras.Variable = self.add_weight(
            name="rows", shape=(2 * height - 1, self._key_width), **options
        )
        self.columns: keras.Variable = self.add_weight(
            name="columns", shape=(2 * width - 1, self._key_width), **options
        )

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Let every position of `x` attend to all."""
        tokens = to_tokens(self.to_channels_last(x))
        query = split_heads(self.query(tokens), self.num_heads)  # (B, H * W, heads, d)
        scaled = upcast(query) * (self._key_width**-0.5 if self.scale_pos_embed else 1.0)
        grid = ops.reshape(scaled, (-1, *self._size, self.num_heads, self._key_width))
        output, attention = attend(
            query,
            split_heads(self.key(tokens), self.num_heads),
            split_heads(self.value(tokens), self.num_heads),
            bias=relative_scores(grid, self.rows, self.columns),  # (B, heads, H * W, H * W)
            return_attention_scores=return_attention_scores,
        )
        output = to_image(merge_heads(output), *self._size)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with `output_dim` channels."""
        *outer, channels = self.channels_last_shape(input_shape)
        return self.from_channels_last_shape((*outer, self.output_dim or channels))

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention map."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        tokens = positions(height, width)
        return batch, self.num_heads, tokens, tokens

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does."""
        joint = (self.query, self.key, self.value)
        names = {
            "qkv.weight": stacked(*(layer.kernel for layer in joint)),
            "pos_embed.height_rel": self.rows,
            "pos_embed.width_rel": self.columns,
        }
        if self.qkv_bias:
            names["qkv.bias"] = stacked(*(layer.bias for layer in joint))
        return Schemes(timm=names)


def default_key_dim(layer: Any, channels: int) -> int:
    """Return the width of a head's queries where it is not given: as in timm, from multiples of 8.

    Args:
        layer: A layer with `num_heads`.
        channels: Number of channels from which it is computed.
    """
    width = multiple_of_8(channels) // layer.num_heads
    if width == 0:
        message = f"`key_dim` must be given where num_heads={layer.num_heads} is that large."
        raise checks.error(layer, message, f"key_dim=None, {channels} channels")
    return width
