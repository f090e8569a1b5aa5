"""Attention free transformer: a position bias for every pair of tokens."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.aft import bias_exponential, key_exponential, quotient
from attn_core._ops.masking import hide_scores
from attn_core._ops.precision import upcast
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers._attention_free import AttentionFreeLayer
from attn_core.layers._base import TokenLayer


@keras.saving.register_keras_serializable(package="attn_core")
class AFTFull(AttentionFreeLayer, TokenLayer):
    r"""AFT-full: averages the values, weighted per channel by keys and learned position biases.

    Each channel c of token t is a weighted mean of that channel over all tokens, multiplied by a
    gate computed from the query. In the weights, a learned bias w for each pair of positions
    replaces the dot product of query and key; it is the same for all channels:

    $$y_{tc} = \sigma(q_{tc}) \frac{\sum_s \exp(k_{sc} + w_{ts})\, v_{sc}}
        {\sum_s \exp(k_{sc} + w_{ts})}$$

    q, k and v are linear maps of the tokens with biases, and so is the projection of y, if there is
    one. As \(\exp(k + w) = \exp(k) \exp(w)\), both sums are one matrix product: memory is
    $O(N^2 + N C)$, time $O(N^2 C)$.

    Args:
        max_length: Largest number of tokens; shorter inputs use the first rows and columns of w.
        hidden_dim: Width of query, key and value; `None` = C.
        output_dim: Width of the output projection; `None` = no projection.
        factorize: Rank r of $w = u v^\top$, with u and v of shape `(max_length, r)`; `None` = w is
            one matrix.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`; N is at most `max_length` and may be dynamic.
        mask: True for real tokens, False for padding, `(B, N)`. Padding does not change the output
            of real tokens. Keras sets this mask if the input has one, for example after an
            `Embedding` with `mask_zero=True`, and passes it on with the output.

    Returns:
        Tokens, `(B, N, output_dim)`; if `output_dim` is `None`, the width is `hidden_dim`, or C.

    Raises:
        ValueError: If an argument is not a positive integer, the input is not a batch of tokens of
            a known width, or it has more than `max_length` of them.

    Example:
        >>> import numpy as np
        >>> AFTFull(max_length=64, output_dim=16)(np.ones((2, 49, 32))).shape
        (2, 49, 16)

    Reference:
        arXiv:2105.14103, equation 2 and section 3.2. The names of the parameters are those of
        rish-16/aft-pytorch `AFTFull` (u and v if w is factorized).

    Differs from the paper:
        There is no difference in exact arithmetic; the authors released no code. To avoid overflow
        in float32, the maximum over the tokens is subtracted from k, and the maximum of each row
        from w; aft-pytorch and External-Attention-pytorch overflow at k = 90 (the latter also
        builds N x N x C tensors). The result is that of the formula, up to rounding, if the values
        in each row of w differ by less than 60, or those in each channel of k by less than 35.
        Otherwise, a bias that is more than 60 below the maximum of its row of w is treated as 60
        below it. External-Attention-tensorflow never trains w.
    """

    split = {"project": "inputs"}

    def __init__(
        self,
        max_length: int,
        *,
        hidden_dim: int | None = None,
        output_dim: int | None = None,
        factorize: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(hidden_dim, output_dim, **kwargs)
        self.max_length: int = checks.integer(self, "max_length", max_length)
        self.factorize: int | None = checks.optional(checks.integer, self, "factorize", factorize)

    def build(self, input_shape: Shape) -> None:
        """Create the projections and the position biases."""
        channels = self._check_tokens(input_shape)
        self._check_length(input_shape)
        self._build_projections(channels)
        # autocast=False: exponentials are taken in float32.
        if self.factorize:
            shape = (self.max_length, self.factorize)
            self.target_factor: keras.Variable = self.add_weight(
                name="target_factor", shape=shape, autocast=False
            )
            self.source_factor: keras.Variable = self.add_weight(
                name="source_factor", shape=shape, autocast=False
            )
        else:
            shape = (self.max_length, self.max_length)
            self.position_bias: keras.Variable = self.add_weight(
                name="position_bias", shape=shape, autocast=False
            )

    def _check_length(self, shape: Shape) -> None:
        """Check that there are no more tokens than position biases."""
        if shape[1] is not None and shape[1] > self.max_length:
            raise checks.error(
                self,
                f"the input must have at most max_length={self.max_length} tokens on axis 1.",
                f"shape {tuple(shape)}",
            )

    def _biases(self, tokens: int | Tensor) -> Tensor:
        """Return w for the first `tokens` positions, `(N, N)`."""
        if self.factorize is None:
            return upcast(self.position_bias[:tokens, :tokens])
        target, source = self.target_factor[:tokens], self.source_factor[:tokens]
        return ops.matmul(upcast(target), ops.transpose(upcast(source)))

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Average the values of `x`."""
        self._check_length(x.shape)
        self._check_mask("mask", mask, x)
        tokens = ops.shape(x)[1]
        value = upcast(self.value(x))  # (B, N, D)
        key = key_exponential(hide_scores(upcast(self.key(x)), mask), axis=1)
        terms = ops.concatenate([key * value, key], axis=-1)  # (B, N, 2 D)
        # One product for the whole batch: batched, the gradient of w would take B N^2 numbers.
        terms = ops.reshape(ops.transpose(terms, (1, 0, 2)), (tokens, -1))  # (N, B 2 D)
        sums = ops.matmul(bias_exponential(self._biases(tokens)), terms)
        sums = ops.reshape(sums, (tokens, -1, 2 * value.shape[-1]))
        mean = quotient(*ops.split(sums, 2, axis=-1))  # (N, B, D)
        return self._gate(x, ops.transpose(mean, (1, 0, 2)))

    def torch_names(self) -> TorchNames:
        """Name the parameters as rish-16/aft-pytorch does."""
        if self.factorize is None:
            return {**super().torch_names(), "wbias": self.position_bias}
        return {**super().torch_names(), "u": self.target_factor, "v": self.source_factor}
