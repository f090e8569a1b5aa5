"""MUSE: self-attention and dynamic convolutions in parallel."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend, merge_heads, split_heads
from attn_core._ops.masking import hide
from attn_core._ops.precision import softmax, upcast
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import stacked, transposed
from attn_core.layers._base import QueryLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention


@keras.saving.register_keras_serializable(package="attn_core")
class MUSEAttention(QueryLayer):
    r"""MUSE: self-attention and, in parallel, dynamic convolutions of the same values.

    From every token, the layer predicts a kernel for each head and kernel size, which weights the
    values around the token. A weighted sum of these convolutions and the output of the attention
    are projected together:

    $$y = W_o\,\Big[\mathrm{Attention}(Q, K, V),\;
        \sum_i \mathrm{softmax}(a)_i\, \mathrm{DynConv}_i(V)\Big], \quad
    \mathrm{DynConv}_i(V)_t = \sum_j \mathrm{softmax}_j(W_i V_t)_j\, V_{t + j}$$

    The weights a of the kernel sizes are initialised to equal values.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a head's queries and keys; `None` = C // num_heads.
        value_dim: Width of a head's values; `None` = `key_dim`.
        kernel_sizes: Odd kernel size of each convolution.
        causal: Whether attention and convolutions only use the token itself and earlier tokens.
        use_bias: Whether the projections of query, key, value and output have biases.
        dropout: Rate of dropout on the attention map and on the predicted kernels.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, N, C)`.
        key: Tokens, `(B, N, Ck)`; `None` = the query.
        value: Tokens, `(B, N, Cv)`; `None` = the key.
        attention_mask: True (or not 0) where a query may attend to a key: `(N, N)`, `(B, N, N)` or
            `(B, 1 or num_heads, N, N)`. It only affects the attention, not the convolutions. If a
            query may attend to no key, the attention gives zeros for it.
        attention_weights: Factors by which the scaled dot products are multiplied before the mask
            is applied; their shape is one of those of `attention_mask`.
        mask: The same as `query_mask`; Keras sets it if the query is the only input.
        query_mask: True for real queries, False for padding, `(B, nq)`. Keras sets this mask and
            the next two if the inputs have masks, for example after an `Embedding` with
            `mask_zero=True`, and passes the mask of the query on with the output.
        key_mask: True for real keys, False for padding, `(B, nk)`. No query attends to padding.
        value_mask: The same for values.
        use_causal_mask: True is only allowed if the layer is `causal`, because otherwise its
            convolutions use later tokens.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Tokens, `(B, N, C)`; with `return_attention_scores=True` also the map (before dropout),
        `(B, num_heads, N, N)`.

    Raises:
        ValueError: If an argument is out of its range; if `key_dim` is `None` and C is not a
            multiple of `num_heads`; if the shapes of the inputs do not fit together.

    Example:
        >>> import numpy as np
        >>> MUSEAttention(num_heads=4, kernel_sizes=(3, 15))(np.ones((2, 9, 32))).shape
        (2, 9, 32)

    Reference:
        arXiv:1911.09483. The outputs are the same as those of lancopku/MUSE
        `ParallelMultiheadAttention` with the options of the authors' training command.

    Differs from the paper:
        As in the reference, the position-wise network, the paper's third branch, is not part of the
        layer. The reference fixes `key_dim` and `value_dim` to C // num_heads, and in training
        drops 10% of the kernels' entries, whatever the rate for the attention. Both
        External-Attention-pytorch and -tensorflow have static convolutions instead of dynamic ones,
        and at each call replace the weights a by their softmax. The latter does not train these
        weights, and in training drops the whole attention.
    """

    maps = (Attention(),)
    split = {"query": "heads", "key": "heads", "value": "heads", "project": "head inputs"}

    output_dim: None = None  # the output is as wide as the query

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int | None = None,
        value_dim: int | None = None,
        kernel_sizes: Sequence[int] = (3, 15),
        causal: bool = False,
        use_bias: bool = True,
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.key_dim: int | None = checks.optional(checks.integer, self, "key_dim", key_dim)
        self.value_dim: int | None = checks.optional(checks.integer, self, "value_dim", value_dim)
        self.kernel_sizes: tuple[int, ...] = checks.sequence(
            self, "kernel_sizes", kernel_sizes, checks.odd
        )
        self.causal: bool = checks.flag(self, "causal", causal)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def _check_inputs(
        self, query_shape: Shape, key_shape: Shape | None = None, *shapes: Shape | None
    ) -> tuple[int, int, int]:
        """Check the shapes of all inputs: there are as many keys as queries."""
        widths = super()._check_inputs(query_shape, key_shape, *shapes)
        self._check_equal_lengths(query_shape, key_shape)
        return widths

    def build(
        self,
        query_shape: Shape,
        key_shape: Shape | None = None,
        value_shape: Shape | None = None,
        attention_mask_shape: Shape | None = None,
        attention_weights_shape: Shape | None = None,
    ) -> None:
        """Create the projections, those that predict the kernels, and the kernels' weights."""
        width, key_width, value_width = self._build_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape, attention_weights_shape
        )
        key_dim = self.key_dim or checks.divisible(
            self, "the number of channels of `query`", width, "num_heads", self.num_heads
        )
        keys, values = self.num_heads * key_dim, self.num_heads * (self.value_dim or key_dim)
        bias = {"use_bias": self.use_bias}
        self.query: keras.layers.Dense = dense(self, width, keys, "query", **bias)
        self.key: keras.layers.Dense = dense(self, key_width, keys, "key", **bias)
        self.value: keras.layers.Dense = dense(self, value_width, values, "value", **bias)
        self.project: keras.layers.Dense = dense(self, 2 * values, width, "project", **bias)
        self.kernels: list[keras.layers.Dense] = [
            dense(self, values, self.num_heads * size, f"kernel_{index}", use_bias=False)
            for index, size in enumerate(self.kernel_sizes)
        ]
        self.drop: Dropout = child(self, Dropout, self.dropout, shape=(None,), name="drop")
        equal = keras.initializers.Constant(1 / len(self.kernels))
        self.gate: keras.Variable = self.add_weight(
            name="gate", shape=(len(self.kernels),), initializer=equal
        )

    def call(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        attention_mask: Tensor | None = None,
        attention_weights: Tensor | None = None,
        mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Any]:
        """Attend to, and convolve, the projected `value`."""
        if use_causal_mask and not self.causal:
            raise checks.error(
                self,
                "a mask does not act on the convolutions: make the layer with `causal=True`.",
                f"use_causal_mask={use_causal_mask}",
            )
        padding = self._padding((query, key, value), mask, query_mask, key_mask, value_mask)
        query, key, value = self._complete(query, key, value, attention_mask, attention_weights)
        value = hide(self.value(value), padding.keys)  # beyond the tokens are zeros
        kernels = self._predict_kernels(value, training)  # (B, N, heads, widest)
        value = split_heads(value, self.num_heads)  # (B, N, heads, value_dim)
        attended, attention = attend(
            split_heads(self.query(query), self.num_heads),  # (B, N, heads, key_dim)
            split_heads(self.key(key), self.num_heads),
            value,
            mask=attention_mask,
            padding=padding,
            causal=self.causal,
            weights=attention_weights,
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        branches = [merge_heads(attended), merge_heads(self._convolve(value, kernels))]
        output = self.project(ops.concatenate(branches, axis=-1))  # (B, N, C)
        return self.result(output, attention, return_attention_scores)

    def _predict_kernels(self, value: Tensor, training: bool | None) -> Tensor:
        """Predict the kernels, and add those of all sizes up to one: convolutions are linear."""
        tokens, widest = ops.shape(value)[1], max(self.kernel_sizes)
        gates = ops.split(softmax(upcast(self.gate)), len(self.kernels))
        joined = 0.0
        for size, predict, gate in zip(self.kernel_sizes, self.kernels, gates, strict=True):
            taps = ops.reshape(predict(value), (-1, tokens, self.num_heads, size))
            taps = gate * softmax(upcast(taps))
            before = self._reach(widest) - self._reach(size)
            around = ((0, 0), (0, 0), (0, 0), (before, widest - size - before))
            joined = joined + ops.pad(self.drop(taps, training=training), around)
        return ops.cast(joined, value.dtype)  # (B, N, heads, widest)

    def _reach(self, size: int) -> int:
        """Return how many earlier tokens a kernel of a `size` covers."""
        return size - 1 if self.causal else size // 2

    def _convolve(self, value: Tensor, kernels: Tensor) -> Tensor:
        """Weight the values around each token by its kernel, with a shifted product per entry."""
        tokens, size = ops.shape(value)[1], kernels.shape[-1]
        before = self._reach(size)
        value = ops.pad(value, ((0, 0), (before, size - 1 - before), (0, 0), (0, 0)))
        return sum(kernels[..., j : j + 1] * value[:, j : j + tokens] for j in range(size))

    def torch_names(self) -> TorchNames:
        """Name the parameters as lancopku/MUSE does."""
        inner = {"q": self.query, "k": self.key, "v": self.value}
        names: TorchNames = {"dynamic_gate_para": self.gate, "out_proj": self.project}
        names |= {f"dynamics.{i}.weight_linear": layer for i, layer in enumerate(self.kernels)}
        if len(set(self._widths)) == 1:
            names["in_proj_weight"] = stacked(*(layer.kernel for layer in inner.values()))
        else:
            for name, layer in inner.items():
                names[f"{name}_proj_weight"] = transposed(layer.kernel, (1, 0))
        if self.use_bias:
            names["in_proj_bias"] = stacked(*(layer.bias for layer in inner.values()))
        return names
