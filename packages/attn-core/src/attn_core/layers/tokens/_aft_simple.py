"""Attention free transformer without position biases."""

from typing import Unpack

import keras
from keras import ops

from attn_core._ops.masking import hide_scores
from attn_core._ops.precision import softmax, upcast
from attn_core._typing import LayerArguments, Shape, Tensor
from attn_core.layers._attention_free import AttentionFreeLayer
from attn_core.layers._base import TokenLayer


@keras.saving.register_keras_serializable(package="attn_core")
class AFTSimple(AttentionFreeLayer, TokenLayer):
    r"""AFT-simple: averages the values, weighted per channel by the keys alone.

    All tokens share one mean per channel, and each token multiplies it by a gate computed from its
    own query. The cost is linear in the number of tokens, in time and in memory:

    $$y_{tc} = \sigma(q_{tc}) \sum_s \mathrm{softmax}_s(k)_{sc}\, v_{sc}$$

    q, k and v are linear maps of the tokens with biases, and so is the projection of y, if there is
    one.

    Args:
        hidden_dim: Width of query, key and value; `None` = C.
        output_dim: Width of the output projection; `None` = no projection.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`; N may be dynamic.
        mask: True for real tokens, False for padding, `(B, N)`. Padding does not change the output
            of real tokens. Keras sets this mask if the input has one, for example after an
            `Embedding` with `mask_zero=True`, and passes it on with the output.

    Returns:
        Tokens, `(B, N, output_dim)`; if `output_dim` is `None`, the width is `hidden_dim`, or C.

    Raises:
        ValueError: If an argument is not a positive integer, or the input is not a batch of tokens
            of a known width.

    Example:
        >>> import numpy as np
        >>> AFTSimple(hidden_dim=8, output_dim=32)(np.ones((2, 49, 32))).shape
        (2, 49, 32)

    Reference:
        arXiv:2105.14103, equation 5. The names of the parameters are those of rish-16/aft-pytorch
        `AFTSimple`.

    Differs from the paper:
        There is no difference; the authors released no code.
    """

    split = {"project": "inputs"}

    def __init__(
        self,
        *,
        hidden_dim: int | None = None,
        output_dim: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(hidden_dim, output_dim, **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Create the projections."""
        self._build_projections(self._check_tokens(input_shape))

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Average the values of `x`."""
        self._check_mask("mask", mask, x)
        weights = softmax(hide_scores(upcast(self.key(x)), mask), axis=1)  # (B, N, D)
        return self._gate(x, ops.sum(weights * upcast(self.value(x)), axis=1, keepdims=True))
