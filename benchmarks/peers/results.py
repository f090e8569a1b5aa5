"""What the peers' benchmark keeps in docs/data/peers.json, and the arithmetic of its ratios."""

from pathlib import Path
from statistics import geometric_mean as geometric_mean
from statistics import median

KEPT = Path(__file__).parents[2] / "docs" / "data" / "peers.json"
"""What `nox -s bench -- peers --keep` measured."""

STEPS = ("forward", "training")


def best(rounds: list[list[float]]) -> float:
    """Return the time of the best form: the least of the forms' medians over the rounds."""
    return min(median(times) for times in zip(*rounds, strict=True))


def ratios(peer: dict[str, float], ours: dict[str, float]) -> dict[str, float]:
    """Return the peer's time over ours by backend: above 1, ours is faster.

    A peer that was measured on one backend is the peer of all.
    """
    same = dict.fromkeys(ours, *peer.values()) if len(peer) == 1 else peer
    return {name: round(same[name] / time, 3) for name, time in ours.items() if name in same}
