"""Halo attention."""

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.ops.attention import attend, merge_heads, split_heads
from attn_core.ops.precision import upcast
from attn_core.ops.windows import from_blocks, to_blocks


@keras.saving.register_keras_serializable(package="attn_core")
class HaloAttention(ImageLayer):
    r"""Halo attention: every block of the image attends to itself and to a halo around it.

    The image is cut into blocks of b x b pixels; the queries of a block share the keys and values
    of the window of (b + 2h) x (b + 2h) pixels around it, with learned relative positions:

    $$y_{p} = \sum_{n \in \mathrm{window}(p)} \mathrm{softmax}_n\Big(\frac{q_p \cdot k_n}{\sqrt d}
        + q_p \cdot (r^{\mathrm{row}}_{n-p} + r^{\mathrm{column}}_{n-p})\Big)\, v_n$$

    q, k and v are linear maps of the pixels. A head is d wide, its values `output_dim / num_heads`;
    the heads are joined to the output, without a further map. A window begins h pixels above and
    left of its block; beyond the image k and v are zero.

    The two tables r, which the heads share, hold 2w - 1 vectors of d numbers, w = b + 2h. For the
    pixel in row i of the window and a query in row j of the block, both counted from 0, row
    i - j + w - 1 is taken (so the first 2h never are); with columns likewise. They start truncated
    normal, of standard deviation 1 / sqrt(d).

    Args:
        block_size: Side b of the blocks; divides H and W.
        halo_size: Width h of the halo, in pixels.
        num_heads: Number of heads; divides `output_dim`.
        key_dim: Width d of the queries and keys of a head; `None` = output_dim // num_heads.
        output_dim: Number of output channels; `None` = C.
        qkv_bias: Whether queries, keys and values have biases.
        scale_pos_embed: Whether the relative positions too are divided by sqrt(d).
        mask_padding: Whether the halo outside the image is left out. Otherwise its zero keys and
            values take part in the softmax.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the map too.

    Returns:
        Image, `(B, H, W, output_dim)` or `(B, output_dim, H, W)`; with
        `return_attention_scores=True` also the map,
        `(B, num_heads, blocks, b * b, (b + 2h) * (b + 2h))` in both data formats: blocks, the
        pixels of a block and those of its window row by row.

    Raises:
        ValueError: If an argument is out of range, `num_heads` does not divide the output channels,
            `block_size` does not divide H and W, or the input is not an image of a known number of
            channels.

    Example:
        >>> import numpy as np
        >>> HaloAttention(block_size=4, halo_size=1)(np.ones((2, 8, 12, 32))).shape
        (2, 8, 12, 32)

    Reference:
        Vaswani, Ramachandran, Srinivas, Parmar, Hechtman, Shlens, "Scaling Local Self-Attention for
        Parameter Efficient Visual Backbones", CVPR 2021, arXiv:2103.12731; numbers as
        huggingface/pytorch-image-models `HaloAttn`, stride 1.

    Differs from the paper:
        The authors released no code. The relative positions are not divided by sqrt(d) unless
        `scale_pos_embed`, and the zeros outside the image take part unless `mask_padding`, as in
        the reference. It rounds the default `key_dim` * `num_heads` to a multiple of 8; here it is
        `output_dim`. In xmu-xiaoma666's collection the mask is inverted: a block attends to the
        padding alone, and so ignores its queries.
    """

    def __init__(
        self,
        block_size: int = 8,
        *,
        halo_size: int = 3,
        num_heads: int = 8,
        key_dim: int | None = None,
        output_dim: int | None = None,
        qkv_bias: bool = False,
        scale_pos_embed: bool = False,
        mask_padding: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.block_size = self.integer("block_size", block_size)
        self.halo_size = self.integer("halo_size", halo_size, 0)
        self.num_heads = self.integer("num_heads", num_heads)
        self.key_dim = None if key_dim is None else self.integer("key_dim", key_dim)
        self.output_dim = None if output_dim is None else self.integer("output_dim", output_dim)
        self.qkv_bias = self.flag("qkv_bias", qkv_bias)
        self.scale_pos_embed = self.flag("scale_pos_embed", scale_pos_embed)
        self.mask_padding = self.flag("mask_padding", mask_padding)

    def build(self, input_shape):
        """Create the dense layers and the relative positions."""
        height, width, channels = self.check_image(input_shape)
        self._check_blocks(height, width)
        outputs = self.output_dim or channels
        value_width = self.divisible("output_dim", outputs, "num_heads", self.num_heads)
        self.key_width = self.key_dim or value_width
        options = {"use_bias": self.qkv_bias, "dtype": self.dtype_policy}
        self.query = keras.layers.Dense(self.num_heads * self.key_width, name="query", **options)
        self.key_value = keras.layers.Dense(
            self.num_heads * (self.key_width + value_width), name="key_value", **options
        )
        self.query.build((None, channels))
        self.key_value.build((None, channels))
        window = self.block_size + 2 * self.halo_size
        options = {
            "shape": (2 * window - 1, self.key_width),
            "initializer": keras.initializers.TruncatedNormal(stddev=self.key_width**-0.5),
        }
        self.rows = self.add_weight(name="rows", **options)
        self.columns = self.add_weight(name="columns", **options)

    def call(self, x, return_attention_scores=False):
        """Let the blocks of `x` attend to their windows."""
        x = self.to_channels_last(x)
        self._check_blocks(*x.shape[1:3])
        batch, height, width = ops.shape(x)[:3]

        query = split_heads(to_blocks(self.query(x), self.block_size), self.num_heads)
        windows = to_blocks(self.key_value(x), self.block_size, self.halo_size)
        key, value = ops.split(split_heads(windows, self.num_heads), [self.key_width], axis=-1)
        mask = None
        if self.mask_padding:
            inside = to_blocks(ops.ones_like(x[..., :1]), self.block_size, self.halo_size)
            mask = ops.expand_dims(ops.transpose(inside, (0, 2, 1)), 1)  # (B * blocks, 1, 1, keys)
        output, attention = attend(  # (B * blocks, queries, heads, width)
            query,
            key,
            value,
            bias=self._positions(query),
            mask=mask,
            return_attention_scores=return_attention_scores,
        )
        output = from_blocks(merge_heads(output), self.block_size, height, width)
        if return_attention_scores:
            blocks = (height // self.block_size) * (width // self.block_size)
            attention = ops.reshape(attention, (batch, blocks, *attention.shape[1:]))
            attention = ops.transpose(attention, (0, 2, 1, 3, 4))
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def _positions(self, query):
        """Return the scores of the relative positions, `(B * blocks, heads, queries, keys)`."""
        size = self.block_size
        query = upcast(query) * (self.key_width**-0.5 if self.scale_pos_embed else 1.0)
        query = ops.reshape(query, (-1, size, size, *query.shape[2:]))
        rows = ops.einsum("nrchd,rid->nhrci", query, self._offsets(self.rows, query.dtype))
        columns = ops.einsum("nrchd,cjd->nhrcj", query, self._offsets(self.columns, query.dtype))
        scores = ops.expand_dims(rows, 5) + ops.expand_dims(columns, 4)  # (.., r, c, i, j)
        window = size + 2 * self.halo_size
        return ops.reshape(scores, (-1, self.num_heads, size * size, window * window))

    def _offsets(self, table, dtype):
        """Spread a table by offset over the places in block and window, `(block, window, d)`."""
        table, window = ops.cast(table, dtype), self.block_size + 2 * self.halo_size
        starts = range(window - 1, window - 1 - self.block_size, -1)
        return ops.stack([table[start : start + window] for start in starts])

    def _check_blocks(self, height, width):
        for what, length in (("the height", height), ("the width", width)):
            if length is not None:
                self.divisible(what, length, "block_size", self.block_size)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape with `output_dim` channels."""
        *image, channels = self.channels_last_shape(input_shape)
        return self.own_shape((*image, self.output_dim or channels))

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the map."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        known = height is not None and width is not None
        blocks = (height // self.block_size) * (width // self.block_size) if known else None
        window = self.block_size + 2 * self.halo_size
        return batch, self.num_heads, blocks, self.block_size**2, window**2

    def torch_names(self) -> dict:
        """Name the parameters as timm does."""
        return {
            "q": self.query,
            "kv": self.key_value,  # head by head: the rows of its keys, then those of its values
            "pos_embed.height_rel": self.rows,
            "pos_embed.width_rel": self.columns,
        }
