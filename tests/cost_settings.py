"""Random sizes and arguments at which the formulas of costs hold."""

import random

from attn_core.catalog import Size

SIDES = (1, 2, 3, 5, 6, 7, 8, 12, 14, 16)
DRAWS = 20_000
CHANNELS = (4, 8, 15, 16, 24, 30, 48, 64, 96, 128)


def settings(mechanism, count, *, valid=True):
    """Return sizes and arguments, those that meet what the mechanism needs or those that do not."""
    draw = random.Random(mechanism.number)
    found = []
    for _ in range(DRAWS):
        height, width = draw.choices(SIDES, k=2)
        size = Size(width if draw.random() < 0.3 else height, width, draw.choice(CHANNELS))
        options = {
            name: draw.choice([value, max(1, value // 2), draw.randint(1, 9)])
            for name, value in mechanism.options.items()
        }
        if valid == (not unmet(mechanism, size, options)):
            found.append((size, options))
        if len(found) == count:
            return found
    raise ValueError(f"{mechanism.key}: {len(found)} of {DRAWS} settings are as wanted")


def unmet(mechanism, size, options):
    """Return the conditions that do not hold."""
    return [need for need in mechanism.needs if not mechanism.evaluate(need, size, **options)]
