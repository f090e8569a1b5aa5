"""Agent attention."""

from math import isqrt
from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._ops.grids import averages, interpolation
from attn_core._ops.patches import resize
from attn_core._ops.precision import upcast
from attn_core._ops.tokens import to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import positions
from attn_core.layers._children import child
from attn_core.layers._convolution import Conv2D
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention, Map
from attn_core.layers.maps._reduced import ReducedImageLayer

GRID = 7
"""Side of the tables of biases, whatever the size of the image: the authors' choice."""


@keras.saving.register_keras_serializable(package="attn_core")
class AgentAttention(ReducedImageLayer):
    r"""Agent attention: a few agents attend to all positions, then all positions attend to them.

    The agents A are averages of the queries over $p \times p$ regions of the image. In the first of
    two softmax attentions, the agents are the queries; in the second, they are the keys. A
    depthwise 3x3 convolution of the values is added:

    $$G = \mathrm{softmax}(A K^\top / \sqrt{d} + B_1)\,V, \qquad
    y = W_o\,\big(\mathrm{softmax}(Q A^\top / \sqrt{d} + B_2)\,G
        + \mathrm{DW}_{3 \times 3} * V\big)$$

    for each head. There are only $p^2$ agents, so the cost is linear in the number of positions.
    Each bias B is the sum of a 7x7 table for each agent, resized to the size of the image, and of
    one number for each row and each column of the image. With `sr_ratio` s > 1, a convolution with
    stride s makes the image smaller before keys and values are computed; V is resized before the
    depthwise convolution.

    Args:
        num_heads: Number of heads.
        agent_num: Number of agents $p^2$, a square.
        sr_ratio: Spatial reduction s of keys and values; 1 = none.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        dropout: Rate of dropout on both attention maps.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`, with H = W; the size is fixed once the layer is
            built.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the two attention maps too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also a tuple of the two maps
        (before dropout): that of the agents over the keys, `(B, num_heads, agent_num, keys)`, and
        that of the positions over the agents, `(B, num_heads, H * W, agent_num)`.

    Raises:
        ValueError: If an argument is out of its range, `agent_num` is not a square, C is not a
            multiple of `num_heads`, or the input is not a square image of a known size that is a
            multiple of `sr_ratio`.

    Example:
        >>> import numpy as np
        >>> AgentAttention(num_heads=4, agent_num=9)(np.ones((2, 14, 14, 32))).shape
        (2, 14, 14, 32)

    Reference:
        arXiv:2312.08874. The outputs and the names of the parameters are the same as those of
        LeapLabTHU/Agent-Attention `AgentAttention` of `agent_pvt.py`.

    Differs from the paper:
        There is no difference. The 7x7 tables, and the depthwise convolution of resized values, are
        those of the released code. The published networks set `qkv_bias=True`.
    """

    one_column = False
    maps: ClassVar[tuple[Map, ...]] = (Attention(queries="agent"), Attention(keys="agent"))

    def __init__(
        self,
        num_heads: int = 8,
        *,
        agent_num: int = 49,
        sr_ratio: int = 1,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(num_heads, sr_ratio, qkv_bias, **kwargs)
        self.agent_num: int = checks.integer(self, "agent_num", agent_num)
        self.dropout: float = checks.rate(self, "dropout", dropout)
        if isqrt(self.agent_num) ** 2 != self.agent_num:
            raise checks.error(
                self, "`agent_num` must be the square of an integer.", f"agent_num={agent_num}"
            )

    def build(self, input_shape: Shape) -> None:
        """Create the linear maps, the convolutions and the tables of biases."""
        height, width, channels = self.check_image(input_shape, fixed_size=True)
        if height != width:
            raise checks.error(
                self, "height and width must be equal.", f"shape {tuple(input_shape)}"
            )
        self._build_maps(height, width, channels)
        rows, columns = self.source_size
        self.local: Conv2D = child(
            self,
            Conv2D,
            channels,
            3,
            shape=(None, None, None, channels),
            groups=channels,
            name="local",
        )
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")
        heads, agents = self.num_heads, self.agent_num
        self.key_table: keras.Variable = self._table("key_table", heads, agents, GRID, GRID)
        self.key_rows: keras.Variable = self._table("key_rows", 1, heads, agents, rows, 1)
        self.key_columns: keras.Variable = self._table("key_columns", 1, heads, agents, 1, columns)
        self.query_table: keras.Variable = self._table("query_table", heads, agents, GRID, GRID)
        self.query_rows: keras.Variable = self._table("query_rows", 1, heads, height, 1, agents)
        self.query_columns: keras.Variable = self._table(
            "query_columns", 1, heads, 1, width, agents
        )

    def _table(self, name: str, *shape: int) -> keras.Variable:
        return self.add_weight(
            shape=shape,
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            autocast=False,  # each bias serves many pairs: their gradients add up in float32
            name=name,
        )

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Let the agents attend to `x`, and every position of `x` attend to the agents."""
        image = self.to_channels_last(x)
        query = self.query(image)
        key, value = ops.split(self._keys_and_values(image), 2, axis=-1)  # (B, keys, C) each
        agents = split_heads(self._agents(query), self.num_heads)  # (B, agents, heads, d)
        options = {
            "dropout": self.drop,
            "training": training,
            "return_attention_scores": return_attention_scores,
        }
        gathered, first = attend(
            agents,
            split_heads(key, self.num_heads),
            split_heads(value, self.num_heads),
            bias=self._key_bias(),
            **options,
        )  # (B, agents, heads, d)
        output, second = attend(
            split_heads(to_tokens(query), self.num_heads),
            agents,
            gathered,
            bias=self._query_bias(),
            **options,
        )  # (B, H * W, heads, d)
        local = self.local(resize(to_image(value, *self.source_size), self.size))
        output = self.project(to_image(merge_heads(output), *self.size) + local)
        return self.result(
            self.from_channels_last(output), (first, second), return_attention_scores
        )

    def _agents(self, query: Tensor) -> Tensor:
        """Average the queries over p x p regions, which overlap where p does not divide H."""
        side, (height, width), channels = isqrt(self.agent_num), self.size, query.shape[-1]
        rows = ops.reshape(upcast(query), (-1, height, width * channels))
        rows = ops.matmul(_like(rows, averages(height, side)), rows)
        agents = ops.reshape(rows, (-1, side, width, channels))
        agents = ops.matmul(_like(agents, averages(width, side)), agents)  # (B, p, p, C)
        return ops.cast(to_tokens(agents), query.dtype)

    def _key_bias(self) -> Tensor:
        """Return the bias of agents and keys, `(1, heads, agents, keys)`."""
        rows, columns = self.source_size
        bias = _resized(self.key_table, rows, columns) + (self.key_rows + self.key_columns)[0]
        return ops.reshape(bias, (1, self.num_heads, self.agent_num, rows * columns))

    def _query_bias(self) -> Tensor:
        """Return the bias of positions and agents, `(1, heads, H * W, agents)`."""
        table = ops.transpose(_resized(self.query_table, *self.size), (0, 2, 3, 1))
        bias = table + (self.query_rows + self.query_columns)[0]  # (heads, H, W, agents)
        return ops.reshape(bias, (1, self.num_heads, -1, self.agent_num))

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shapes of the two attention maps."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        keys = [None if side is None else side // self.sr_ratio for side in (height, width)]
        agents = batch, self.num_heads, self.agent_num, positions(*keys)
        return agents, (batch, self.num_heads, positions(height, width), self.agent_num)

    def torch_names(self) -> TorchNames:
        """Name the parameters as LeapLabTHU/Agent-Attention does."""
        return super().torch_names() | {
            "dwc": self.local,
            "an_bias": self.key_table,
            "ah_bias": self.key_rows,
            "aw_bias": self.key_columns,
            "na_bias": self.query_table,
            "ha_bias": self.query_rows,
            "wa_bias": self.query_columns,
        }


def _resized(table: Tensor, height: int, width: int) -> Tensor:
    """Resize the last two axes of a table `(heads, agents, 7, 7)` bilinearly."""
    rows = _like(table, interpolation(GRID, height, align_corners=False))
    columns = _like(table, interpolation(GRID, width, align_corners=False).T)
    return ops.matmul(ops.matmul(rows, table), columns)


def _like(x: Tensor, matrix: np.ndarray) -> Tensor:
    """Return a matrix in the dtype of `x`."""
    return ops.cast(matrix, x.dtype)
