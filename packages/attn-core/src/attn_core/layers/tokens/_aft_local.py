"""Attention free transformer: position biases between neighbours only."""

from typing import Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.aft import distances
from attn_core._typing import LayerArguments, Tensor
from attn_core.layers.tokens._aft_full import AFTFull


@keras.saving.register_keras_serializable(package="attn_core")
class AFTLocal(AFTFull):
    r"""AFT-local: `AFTFull` whose position biases are zero outside a window around each token.

    Every mean includes all tokens; those outside the window are weighted by their keys alone:

    $$y_{tc} = \sigma(q_{tc}) \frac{\sum_s \exp(k_{sc} + w_{ts})\, v_{sc}}
        {\sum_s \exp(k_{sc} + w_{ts})}, \quad w_{ts} = 0 \text{ where } |t - s| \ge
        \mathrm{window\_size}$$

    Args:
        max_length: Largest number of tokens; shorter inputs use the first rows and columns of w.
        window_size: Positions at this distance or further have no bias.
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
        >>> AFTLocal(max_length=64, window_size=8)(np.ones((2, 49, 32))).shape
        (2, 49, 32)

    Reference:
        arXiv:2105.14103, equations 2 and 3. The names of the parameters are those of
        rish-16/aft-pytorch `AFTLocal`.

    Differs from the paper:
        The same as for `AFTFull`. As in aft-pytorch, w is stored for all pairs, but it is not used
        outside the window. (At each call aft-pytorch replaces its parameter by a masked copy, which
        the optimizer does not train.)
    """

    def __init__(
        self,
        max_length: int,
        window_size: int,
        *,
        hidden_dim: int | None = None,
        output_dim: int | None = None,
        factorize: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            max_length,
            hidden_dim=hidden_dim,
            output_dim=output_dim,
            factorize=factorize,
            **kwargs,
        )
        self.window_size: int = checks.integer(self, "window_size", window_size)

    def _biases(self, tokens: int | Tensor) -> Tensor:
        """Return w, `(N, N)`, zero outside the window."""
        bias = super()._biases(tokens)
        return ops.where(distances(tokens) < self.window_size, bias, ops.zeros_like(bias))
