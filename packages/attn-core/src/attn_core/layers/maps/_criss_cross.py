"""Criss-cross attention."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.precision import softmax, upcast
from attn_core._ops.tokens import by_columns
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ImageLayer, positions
from attn_core.layers._children import dense
from attn_core.layers._maps import Cross, Map


@keras.saving.register_keras_serializable(package="attn_core")
class CrissCrossAttention(ImageLayer):
    r"""Criss-cross attention: adds dot-product attention along each position's column and row.

    Every position attends to the H + W - 1 positions of its column and its row; it attends to
    itself only once. There is one head, and the scores are not scaled. The sum is multiplied by a
    learned scalar gamma, which is initialised to 0, and added to the input. After two passes every
    position has received information from every other position:

    $$y_{ij} = x_{ij} + \gamma \sum_{p \in \mathrm{cross}(i, j)}
    \mathrm{softmax}_p(q_{ij} \cdot k_p)\,v_p$$

    Args:
        reduction: Queries and keys have `max(1, C // reduction)` channels.
        recurrence: How often the layer is applied, each time to its own output, with the same
            weights.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the attention map,
        `(B, 1, H * W, H + W)`, or a tuple of them, one for each pass, if `recurrence` is above 1.
        The first H entries are the weights of the position's column, from the top, with 0 for the
        position itself; the other W are those of its row, from the left.

    Raises:
        ValueError: If an argument is not a positive integer, or the input is not an image of a
            known number of channels.

    Example:
        >>> import numpy as np
        >>> CrissCrossAttention(recurrence=2)(np.ones((2, 7, 9, 32))).shape
        (2, 7, 9, 32)

    Reference:
        arXiv:1811.11721. The outputs are the same as those of speedinghzl/CCNet
        `CrissCrossAttention`, applied `recurrence` times as in its `RCCAModule`.
        xmu-xiaoma666/External-Attention-pytorch has the same class.

    Differs from the paper:
        There is no difference. The paper's networks have `recurrence=2`; the convolutions before
        and after it belong to the authors' segmentation head, and are not part of the layer. The
        bias of the keys adds the same number to all scores of a query, so it has no effect and no
        gradient.
    """

    maps: ClassVar[tuple[Map, ...]] = (Cross(),)

    def __init__(
        self, reduction: int = 8, *, recurrence: int = 1, **kwargs: Unpack[ImageArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.recurrence: int = checks.integer(self, "recurrence", recurrence)

    def build(self, input_shape: Shape) -> None:
        """Create the projections and gamma."""
        _, _, channels = self.check_image(input_shape)
        width = max(1, channels // self.reduction)
        self.query: keras.layers.Dense = dense(self, channels, width, "query")
        self.key: keras.layers.Dense = dense(self, channels, width, "key")
        self.value: keras.layers.Dense = dense(self, channels, channels, "value")
        self.gamma: keras.Variable = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Attend along the columns and rows of `x`, `recurrence` times."""
        x = self.to_channels_last(x)
        size = ops.shape(x)[1:3]
        maps = []
        for _ in range(self.recurrence):
            attention = self._attention(x)  # (B, H, W, H + W)
            x = x + self.gamma * self._gather(attention, self.value(x))
            maps.append(ops.reshape(attention, (-1, 1, size[0] * size[1], size[0] + size[1])))
        attention = maps[0] if self.recurrence == 1 else tuple(maps)
        return self.result(self.from_channels_last(x), attention, return_attention_scores)

    def _attention(self, x: Tensor) -> Tensor:
        """Return the weights of column and row for each position."""
        query, key = upcast(self.query(x)), upcast(self.key(x))  # (B, H, W, d)
        columns = ops.matmul(by_columns(query), ops.transpose(key, (0, 2, 3, 1)))  # (B, W, H, H)
        rows = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))  # (B, H, W, W)
        places = ops.arange(0, ops.shape(x)[1])
        own = ops.equal(ops.expand_dims(places, 1), ops.expand_dims(places, 0))
        # The position itself is in its row. A large finite number: -inf makes NaN gradients.
        columns = ops.where(own, ops.cast(-1e30, columns.dtype), columns)
        scores = ops.concatenate([by_columns(columns), rows], axis=-1)
        return ops.cast(softmax(scores), x.dtype)

    def _gather(self, attention: Tensor, value: Tensor) -> Tensor:
        """Return the weighted sums of the values of column and row."""
        height = ops.shape(value)[1]
        columns = ops.matmul(by_columns(attention[..., :height]), by_columns(value))
        return by_columns(columns) + ops.matmul(attention[..., height:], value)

    def compute_attention_shape(self, input_shape: Shape) -> Shape | tuple[Shape, ...]:
        """Return the shape of the attention map, or of the map of each pass."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        cross = None if height is None or width is None else height + width
        shape = (batch, 1, positions(height, width), cross)
        return shape if self.recurrence == 1 else (shape,) * self.recurrence

    def torch_names(self) -> TorchNames:
        """Name the parameters as speedinghzl/CCNet does."""
        return {
            "gamma": self.gamma,
            "query_conv": self.query,
            "key_conv": self.key,
            "value_conv": self.value,
        }
