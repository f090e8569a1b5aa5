"""Padding: tokens that are there only because all samples of a batch have one length."""

from keras import ops

from attn_core._typing import Tensor


def hide(x: Tensor, mask: Tensor | None, value: float = 0.0) -> Tensor:
    """Put `value` where the mask is False; its axes are the first ones of `x`."""
    if mask is None:
        return x
    mask = ops.expand_dims(ops.cast(mask, "bool"), tuple(range(len(mask.shape), len(x.shape))))
    return ops.where(mask, x, ops.cast(value, x.dtype))


def hide_scores(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Put a number far below all others where the mask is False: its exponential is 0.

    It is finite: -inf makes NaN gradients. The scores must be float32 or float64.
    """
    return hide(scores, mask, -1e30)


def both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Return where two masks are True; `None` is True everywhere."""
    if one is None or other is None or one is other:
        return other if one is None else one
    return ops.logical_and(one, other)
