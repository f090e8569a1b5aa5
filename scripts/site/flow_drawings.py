"""Draw the data flow of a mechanism as SVG, from chains of steps like "x -> pool -> * -> y".

Every chain has a column, every step a row: the longest way from `x` to it. Lines take the colour of
the text around the drawing, light or dark.
"""

import math
import textwrap
from html import escape
from itertools import pairwise

COLUMN, SKIP, ROW = 190, 34, 62
"""Width of a column of steps, of one that only a line passes through, and height of a row."""

BOX = (174, 40)
GAP = ROW - BOX[1]
"""Height between the boxes of two rows."""
RADIUS = 15
LETTERS = 20
"""How many letters a box is wide, in any font."""
OPERATORS = ("+", "\N{MULTIPLICATION SIGN}")


def parse(flow: tuple[str, ...]) -> list[list[str]]:
    """Return the steps of each chain."""
    chains = [[step.strip() for step in chain.split("->")] for chain in flow]
    known = {"y"}
    for chain in chains:
        if len(chain) < 2 or (chain is not chains[0] and chain[0] not in known | {"x"}):
            raise ValueError(f"a chain must start at a known step. Received: {chain}")
        known |= set(chain)
    ends = {step for chain in chains for step in chain} - {
        c for chain in chains for c in chain[:-1]
    }
    if ends != {"y"}:
        raise ValueError(f"all chains must lead to y. Received: {flow}")
    return chains


def rows(chains: list[list[str]]) -> dict[str, int]:
    """Return the row of each step: the longest way to it."""
    steps = dict.fromkeys(step for chain in chains for step in chain)
    row = dict.fromkeys(steps, 0)
    for _ in steps:  # the longest way has at most so many steps
        for chain in chains:
            for before, after in pairwise(chain):
                row[after] = max(row[after], row[before] + 1)
    if max(row.values()) >= len(steps):
        raise ValueError(f"the steps go in a circle. Received: {chains}")
    return row


def columns(chains: list[list[str]], row: dict[str, int]) -> tuple[dict[str, int], list[int]]:
    """Return the column of each step and of each chain: the first one free from top to bottom."""
    taken, column, lanes = [], {}, []
    for chain in chains:
        top, bottom = row[chain[0]], row[chain[-1]]
        inner = [step for step in chain if step not in column]
        direct = bottom - top == 1 and not inner
        lane = next(
            i for i in range(len(chains) + 1)
            if i == len(taken) or all(b <= top or a >= bottom for a, b in taken[i])
        )  # fmt: skip
        if direct:  # one line, straight across
            lane = column[chain[0]]
        else:
            taken += [[]] * (lane == len(taken))
            taken[lane] = [*taken[lane], (top, bottom)]
        column |= dict.fromkeys(inner, lane)
        lanes.append(lane)
    return column, lanes


def draw(name: str, flow: tuple[str, ...]) -> str:
    """Return the drawing as an SVG element, with its text alternative."""
    chains = parse(flow)
    row = rows(chains)
    column, lanes = columns(chains, row)
    height = (max(row.values()) + 1) * ROW
    widths = [SKIP] * (max([*column.values(), *lanes]) + 1)
    for lane in column.values():
        widths[lane] = COLUMN
    middles = [sum(widths[:lane]) + wide / 2 for lane, wide in enumerate(widths)]
    width = sum(widths)

    def centre(step):
        return middles[column[step]], (row[step] + 0.5) * ROW

    lines, shapes, drawn = [], [], set()
    for chain, lane in zip(chains, lanes, strict=True):
        for before, after in pairwise(chain):
            if (before, after) not in drawn:
                drawn.add((before, after))
                ends = (centre(before), centre(after), _half(before), _half(after))
                lines.append(_line(*ends, middles[lane]))
    for step in row:
        shapes.append(_shape(step, *centre(step)))
    text = f"Data flow of {name}: " + "; ".join(
        " to ".join(_label(step) for step in chain) for chain in chains
    )
    return "\n".join(
        [
            f'<div class="flow"><svg role="img" aria-label="{escape(text)}" '
            f'viewBox="0 0 {width} {height}" style="max-width: {width}px">',
            *lines,
            *shapes,
            "</svg></div>",
        ]
    )


def _label(step: str) -> str:
    return step.partition("#")[0].replace("*", OPERATORS[1])


def _half(step: str) -> float:
    return RADIUS if _label(step) in (*OPERATORS, "x", "y") else BOX[1] / 2


def _line(start, end, above, below, middle) -> str:
    """Return an arrow from below one step to above another, along a column where it is long."""
    (x0, y0), (x1, y1) = start, end
    y0, y1 = y0 + above, y1 - below
    path = f"M{x0:g} {y0:g}"
    if y1 - y0 <= ROW or x0 == middle == x1:
        path += _curve(x0, y0, x1, y1 - 6)
    else:
        first, last = y0 + GAP, y1 - GAP  # beside the boxes, not over them
        path += _curve(x0, y0, middle, first) + f"L{middle:g} {last:g}"
        path += _curve(middle, last, x1, y1 - 6)
    head = f"M{x1 - 4:g} {y1 - 7:g}L{x1:g} {y1:g}L{x1 + 4:g} {y1 - 7:g}Z"
    return f'<path class="line" d="{path}"/><path class="head" d="{head}"/>'


def _curve(x0, y0, x1, y1) -> str:
    half = (y0 + y1) / 2
    return f"C{x0:g} {half:g} {x1:g} {half:g} {x1:g} {y1:g}"


def _shape(step: str, x: float, y: float) -> str:
    label = _label(step)
    if label in (*OPERATORS, "x", "y"):
        kind = "end" if label in "xy" else "operator"
        words = f'<text x="{x:g}" y="{y + 5:g}">{escape(label)}</text>'
        return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{RADIUS}"/>{words}'
    wide, high = BOX
    lines = textwrap.wrap(label, math.ceil(len(label) / 2) + 4) if len(label) > LETTERS else [label]
    words = "".join(
        f'<text x="{x:g}" y="{y + 5 + 16 * (i - (len(lines) - 1) / 2):g}">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    left, top = x - wide / 2, y - high / 2
    return f'<rect x="{left:g}" y="{top:g}" width="{wide}" height="{high}" rx="6"/>{words}'
