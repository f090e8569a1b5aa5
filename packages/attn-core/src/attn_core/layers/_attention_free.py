"""What the four forms of the attention free transformer share."""

from typing import Any

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._typing import Shape, Tensor, TorchNames
from attn_core.layers._base import AttentionLayer
from attn_core.layers._children import dense


class AttentionFreeLayer(AttentionLayer):
    """Base of the attention free layers: their projections, their gate, names of their weights."""

    def __init__(self, hidden_dim: int | None, output_dim: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_dim: int | None = checks.optional(
            checks.integer, self, "hidden_dim", hidden_dim
        )
        self.output_dim: int | None = checks.optional(
            checks.integer, self, "output_dim", output_dim
        )

    def _build_projections(self, channels: int, key_width: int | None = None) -> None:
        """Create the dense layers of query, key, value and output."""
        width = self.hidden_dim or channels
        self.query: keras.layers.Dense = dense(self, channels, width, "query")
        self.key: keras.layers.Dense = dense(self, channels, key_width or width, "key")
        self.value: keras.layers.Dense = dense(self, channels, width, "value")
        self.project: keras.layers.Dense | None = None
        if self.output_dim:
            self.project = dense(self, width, self.output_dim, "project")

    def _gate(self, x: Tensor, mean: Tensor) -> Tensor:
        """Gate the weighted means of the values by the queries of `x`, and project them."""
        output = ops.sigmoid(self.query(x)) * ops.cast(mean, self.compute_dtype)
        return output if self.project is None else self.project(output)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape, with the width of the output."""
        return (*input_shape[:-1], self.output_dim or self.hidden_dim or input_shape[-1])

    def torch_names(self) -> TorchNames:
        """Name the parameters as rish-16/aft-pytorch does."""
        names = {"to_q": self.query, "to_k": self.key, "to_v": self.value}
        return names if self.project is None else {**names, "project": self.project}
