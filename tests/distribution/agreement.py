"""How close training on several devices comes to training on one."""

import numpy as np

TOLERANCE = 1e-5
"""Losses and weights are of order one. float32 rounds at 6e-8, and the same numbers are added in
another order, over six steps: 2.4e-7 was seen."""


def check(alone, together, ignoring: str | None = None) -> None:
    """Check that two ways to train gave the same losses and weights, and that they trained at all.

    Args:
        alone: Losses and weights by path, on one device; what follows them is not looked at.
        together: The same on several.
        ignoring: Part of the paths of weights that are not compared.
    """
    losses, weights = alone[:2]
    assert np.ptp(losses) > 0.05
    np.testing.assert_allclose(together[0], losses, rtol=0, atol=TOLERANCE)
    assert together[1].keys() == weights.keys()
    for path, values in weights.items():
        if ignoring is None or ignoring not in path:
            np.testing.assert_allclose(together[1][path], values, rtol=0, atol=TOLERANCE)
