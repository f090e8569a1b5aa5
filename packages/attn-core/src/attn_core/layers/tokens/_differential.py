"""Differential attention."""

from math import exp
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import (
    NO_PADDING,
    Padding,
    attention_map,
    merge_heads,
    split_heads,
    weighted_sum,
)
from attn_core._ops.precision import upcast
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes, stacked
from attn_core.layers._base import Split, TokenLayer
from attn_core.layers._children import child, dense
from attn_core.layers._dropout import Dropout
from attn_core.layers._maps import Attention, Map


@keras.saving.register_keras_serializable(package="attn_core")
class DifferentialAttention(TokenLayer):
    r"""Differential attention: the difference of two softmax maps, in which common noise cancels.

    Every head has two queries and two keys of width d = C / (2 num_heads), and one value of width 2
    d. Each head's output is normalised by a root mean square norm, whose factors $\gamma$ the heads
    share:

    $$A = \mathrm{softmax}(Q_1 K_1^\top / \sqrt{d}) - \lambda\,
        \mathrm{softmax}(Q_2 K_2^\top / \sqrt{d}), \qquad
    y = W_o\,(1 - \lambda_0)\,\mathrm{RMSNorm}(A V)$$

    $$\lambda = \exp(\lambda_{q1} \cdot \lambda_{k1}) - \exp(\lambda_{q2} \cdot \lambda_{k2})
        + \lambda_0, \qquad \lambda_0 = 0.8 - 0.6\,e^{-0.3\,\mathrm{depth}}$$

    All heads share $\lambda$. Its four vectors of width d are initialised from a normal
    distribution with a standard deviation of 0.1.

    Args:
        num_heads: Number of heads; plain attention with heads of width d has twice as many.
        depth: Index of the layer in its network, counted from 0.
        qkv_bias: Whether the maps to queries, keys and values have biases.
        use_bias: Whether the output map has a bias.
        causal: Whether a token attends only to itself and earlier tokens.
        dropout: Rate of dropout on each of the two softmax maps.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`.
        mask: True for real tokens, False for padding, `(B, N)`. No token attends to padding, and
            padding does not attend to any token. Keras sets this mask if the input has one, for
            example after an `Embedding` with `mask_zero=True`, and passes it on with the output.
        use_causal_mask: Whether this call is causal, as with `causal=True`.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Tokens, `(B, N, C)`; with `return_attention_scores=True` also the difference A (before
        dropout), `(B, num_heads, N, N)`: its rows sum to 1 - lambda, and it has negative entries.

    Raises:
        ValueError: If an argument is out of its range, or C is not a multiple of 2 num_heads.

    Example:
        >>> import numpy as np
        >>> DifferentialAttention(num_heads=4, depth=2)(np.ones((2, 9, 32))).shape
        (2, 9, 32)

    Reference:
        arXiv:2410.05258. The outputs and the names of the parameters are the same as those of
        timm's `DiffAttention`. Weights with the names of microsoft/unilm `MultiheadDiffAttn`
        (`q_proj`, `subln`) load too; its layers have `use_bias=False`.

    Differs from the paper:
        The paper counts layers from 1 and has depth - 1 in the exponent, which is the same. The
        authors' networks also apply a rotary embedding to queries and keys, and have groups of
        heads that share keys and values; both are not part of the layer. The authors' layer is
        always causal and has no biases.
    """

    maps: ClassVar[tuple[Map, ...]] = (Attention(),)
    split: ClassVar[dict[str, Split]] = {
        "query": "heads",
        "key": "heads",
        "value": "heads",
        "project": "head inputs",
    }

    def __init__(
        self,
        num_heads: int = 8,
        *,
        depth: int = 0,
        qkv_bias: bool = False,
        use_bias: bool = True,
        causal: bool = False,
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.depth: int = checks.integer(self, "depth", depth, minimum=0)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)
        self.use_bias: bool = checks.flag(self, "use_bias", use_bias)
        self.causal: bool = checks.flag(self, "causal", causal)
        self.dropout: float = checks.rate(self, "dropout", dropout)

    def build(self, input_shape: Shape) -> None:
        """Create the four linear maps, the vectors of lambda and the factors of the norm."""
        channels = self._check_tokens(input_shape)
        width = checks.divisible(
            self, "the number of channels", channels, "2 * num_heads", 2 * self.num_heads
        )
        bias = {"use_bias": self.qkv_bias}
        self.query: keras.layers.Dense = dense(self, channels, channels, "query", **bias)
        self.key: keras.layers.Dense = dense(self, channels, channels, "key", **bias)
        self.value: keras.layers.Dense = dense(self, channels, channels, "value", **bias)
        self.project: keras.layers.Dense = dense(
            self, channels, channels, "project", use_bias=self.use_bias
        )
        # autocast=False: maps, exponentials and norms are computed in float32.
        self.drop: Dropout = child(
            self,
            Dropout,
            self.dropout,
            shape=(None,),
            name="drop",
            autocast=False,
        )
        self.lambdas: dict[str, keras.Variable] = {
            name: self.add_weight(
                (width,),
                keras.initializers.RandomNormal(stddev=0.1),
                name=name,
                autocast=False,
            )
            for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
        }
        self.gamma: keras.Variable = self.add_weight(
            (2 * width,), "ones", name="gamma", autocast=False
        )

    def call(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        use_causal_mask: bool = False,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Any]:
        """Weight the values of `x` by the difference of two maps."""
        self._check_mask("mask", mask, x)
        value = split_heads(self.value(x), self.num_heads)  # (B, N, heads, 2 d)
        both = attention_map(
            split_heads(self.query(x), 2 * self.num_heads),  # (B, N, 2 heads, d)
            split_heads(self.key(x), 2 * self.num_heads),
            padding=NO_PADDING if mask is None else Padding(mask, mask),
            causal=self.causal or use_causal_mask,
        )  # (B, 2 heads, N, N), the two of a head side by side
        dropped = self._difference(self.drop(both, training=training))
        output = upcast(weighted_sum(ops.cast(dropped, value.dtype), value))  # (B, N, heads, 2 d)
        squares = ops.mean(ops.square(output), axis=-1, keepdims=True)
        output = output * ops.rsqrt(squares + 1e-5) * upcast(self.gamma) * (1 - self._start)
        output = self.project(merge_heads(ops.cast(output, value.dtype)))
        attention = None
        if return_attention_scores:
            attention = ops.cast(self._difference(both), value.dtype)
        return self.result(output, attention, return_attention_scores)

    @property
    def _start(self) -> float:
        """What lambda would be if its vectors were zero."""
        return 0.8 - 0.6 * exp(-0.3 * self.depth)

    def _difference(self, both: Tensor) -> Tensor:
        """Subtract lambda times the second map of each head from its first."""
        one, two = (
            ops.exp(ops.sum(upcast(self.lambdas[f"lambda_q{i}"] * self.lambdas[f"lambda_k{i}"])))
            for i in (1, 2)
        )
        tokens = ops.shape(both)[-1]
        both = ops.reshape(both, (-1, self.num_heads, 2, tokens, tokens))
        return both[:, :, 0] - (one - two + self._start) * both[:, :, 1]

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the difference of the two maps."""
        batch, tokens, _ = input_shape
        return batch, self.num_heads, tokens, tokens

    def torch_names(self) -> Schemes:
        """Name the parameters as timm does, and as microsoft/unilm does."""
        inner = (self.query, self.key, self.value)
        timm: TorchNames = {
            "qkv.weight": stacked(*(layer.kernel for layer in inner)),
            "sub_norm.weight": self.gamma,
            "proj": self.project,
        }
        if self.qkv_bias:
            timm["qkv.bias"] = stacked(*(layer.bias for layer in inner))
        authors: TorchNames = {
            "q_proj": self.query,
            "k_proj": self.key,
            "v_proj": self.value,
            "subln.weight": self.gamma,
            "out_proj": self.project,
        }
        return Schemes(timm=timm | self.lambdas, authors=authors | self.lambdas)
