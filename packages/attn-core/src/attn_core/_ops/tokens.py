"""Images `(B, H, W, C)` as tokens `(B, H * W, C)`, row by row, and back; or column by column.

Signals `(B, T, C)` and volumes `(B, D, H, W, C)` become tokens likewise.
"""

import math
from typing import Any

from keras import ops

from attn_core._ops.eager import reshape
from attn_core._typing import Tensor


def spatial(x: Tensor) -> tuple[int, ...]:
    """Return the axes of the positions: all between the batch and the channels."""
    return tuple(range(1, len(x.shape) - 1))


def size(x: Tensor) -> tuple[Any, ...]:
    """Return the lengths of the axes of the positions, tensors where they are dynamic."""
    return tuple(ops.shape(x)[1:-1])


def to_tokens(x: Tensor) -> Tensor:
    """Return the positions of an image, row by row."""
    return reshape(x, (-1, math.prod(size(x)), x.shape[-1]))


def to_image(tokens: Tensor, *size: int | Tensor) -> Tensor:
    """Return the image of a size, height and width, whose pixels, row by row, are the tokens."""
    return reshape(tokens, (-1, *size, tokens.shape[-1]))


def by_columns(image: Tensor) -> Tensor:
    """Exchange the axes of rows and columns."""
    return ops.transpose(image, (0, 2, 1, 3))
