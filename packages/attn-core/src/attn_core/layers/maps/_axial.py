"""Axial attention."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._ops.tokens import by_columns
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import stacked
from attn_core.layers._base import ImageLayer
from attn_core.layers._children import dense
from attn_core.layers._maps import Lines, Map

AXES = ("column", "row")
"""The line along which each of the two attentions acts, in the order of the weights."""


@keras.saving.register_keras_serializable(package="attn_core")
class AxialAttention(ImageLayer):
    r"""Axial attention: multi-head self-attention along the columns and along the rows.

    A position attends to the H positions of its column, and to the W positions of its row. Columns
    and rows have separate weights. There is no position embedding:

    $$y = \mathrm{MHA}_{\mathrm{column}}(x) + \mathrm{MHA}_{\mathrm{row}}(x), \qquad
    \text{or} \quad y = \mathrm{MHA}_{\mathrm{row}}(\mathrm{MHA}_{\mathrm{column}}(x))$$

    Args:
        num_heads: Number of heads, a divisor of C.
        key_dim: Width of queries, keys and values per head; `None` = C // num_heads.
        combine: "add" computes both from x and adds them; "sequential" computes the attention along
            the rows from the result of the attention along the columns.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the attention maps too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the two maps, along the
        columns `(B, num_heads, W, H, H)` and along the rows `(B, num_heads, H, W, W)`.

    Raises:
        ValueError: If an argument is not as described, C is not a multiple of `num_heads`, or the
            input is not an image of a known number of channels.

    Example:
        >>> import numpy as np
        >>> AxialAttention(num_heads=4)(np.ones((2, 7, 9, 32))).shape
        (2, 7, 9, 32)

    Reference:
        arXiv:1912.12180. The outputs are the same as those of lucidrains/axial-attention
        `AxialAttention` with two dimensions. xmu-xiaoma666/External-Attention-pytorch has the same
        class.

    Differs from the paper:
        The paper's Axial Transformer also uses masks and shifts for autoregressive generation, and
        adds position embeddings outside of the attention. The position-sensitive form of
        arXiv:2003.07853 is a different mechanism. Queries, keys and values have no biases.
    """

    maps: ClassVar[tuple[Map, ...]] = (Lines("column"), Lines("row"))
    split: ClassVar[dict[str, str]] = {
        f"{axis}_{name}": role
        for axis in AXES
        for name, role in (
            ("query", "heads"),
            ("key", "heads"),
            ("value", "heads"),
            ("project", "head inputs"),
        )
    }

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int | None = None,
        combine: str = "add",
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.key_dim: int | None = checks.optional(checks.integer, self, "key_dim", key_dim)
        self.combine: str = checks.choice(self, "combine", combine, ("add", "sequential"))

    def build(self, input_shape: Shape) -> None:
        """Create the four linear maps of each axis."""
        _, _, channels = self.check_image(input_shape)
        checks.divisible(self, "the number of channels", channels, "num_heads", self.num_heads)
        width = self.num_heads * (self.key_dim or channels // self.num_heads)
        for axis in AXES:
            kinds = [
                dense(self, channels, width, f"{axis}_{name}", use_bias=False)
                for name in ("query", "key", "value")
            ]
            kinds.append(dense(self, width, channels, f"{axis}_project"))
            for kind in kinds:
                setattr(self, kind.name, kind)

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Attend along the columns and along the rows of `x`."""
        x = self.to_channels_last(x)
        vertical, columns = self._attend("column", by_columns(x), return_attention_scores)
        vertical = by_columns(vertical)
        source = x if self.combine == "add" else vertical
        horizontal, rows = self._attend("row", source, return_attention_scores)
        output = vertical + horizontal if self.combine == "add" else horizontal
        return self.result(
            self.from_channels_last(output), (columns, rows), return_attention_scores
        )

    def _attend(self, axis: str, x: Tensor, asked: bool) -> tuple[Tensor, Tensor | None]:
        """Attend within each line of `(B, lines, N, C)`; the map is `(B, heads, lines, N, N)`."""
        lines, tokens, channels = ops.shape(x)[1], ops.shape(x)[2], x.shape[-1]
        x = ops.reshape(x, (-1, tokens, channels))  # (B * lines, N, C)
        parts = (
            split_heads(getattr(self, f"{axis}_{name}")(x), self.num_heads)
            for name in ("query", "key", "value")
        )
        attended, attention = attend(*parts, return_attention_scores=asked)
        output = getattr(self, f"{axis}_project")(merge_heads(attended))
        if attention is not None:
            shape = (-1, lines, self.num_heads, tokens, tokens)
            attention = ops.transpose(ops.reshape(attention, shape), (0, 2, 1, 3, 4))
        return ops.reshape(output, (-1, lines, tokens, channels)), attention

    def compute_attention_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the two attention maps."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        return (
            (batch, self.num_heads, width, height, height),
            (batch, self.num_heads, height, width, width),
        )

    def torch_names(self) -> TorchNames:
        """Name the parameters as lucidrains/axial-attention does."""
        names: TorchNames = {}
        for number, axis in enumerate(AXES):
            kernels = (getattr(self, f"{axis}_{name}").kernel for name in ("key", "value"))
            names |= {
                f"axial_attentions.{number}.fn.to_q": getattr(self, f"{axis}_query"),
                f"axial_attentions.{number}.fn.to_kv.weight": stacked(*kernels),
                f"axial_attentions.{number}.fn.to_out": getattr(self, f"{axis}_project"),
            }
        return names
