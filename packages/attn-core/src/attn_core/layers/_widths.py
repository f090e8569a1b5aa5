"""Widths that follow from other widths as in timm."""


def multiple_of_8(width: float) -> int:
    """Round a width to a multiple of 8 that is at least 8, and at least nine tenths of it."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
