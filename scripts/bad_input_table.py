"""The cases of bad input that the last test runs saw refused."""

import json
from pathlib import Path

from verified import BACKENDS

COUNTS = Path(__file__).parents[1] / "build" / "bad_input"


def table() -> str:
    """Return the number of cases by kind and backend, in Markdown."""
    counts = {path.stem: json.loads(path.read_text()) for path in COUNTS.glob("*.json")}
    backends = [name for name in BACKENDS if name in counts]
    if not backends:
        return "The table appears here once the tests have run."
    kinds = list(dict.fromkeys(kind for name in backends for kind in counts[name]))
    lines = ["| Bad input | " + " | ".join(BACKENDS[name] for name in backends) + " |"]
    lines.append("|---|" + "--:|" * len(backends))
    for kind in kinds:
        cells = " | ".join(str(counts[name].get(kind, "")) for name in backends)
        lines.append(f"| {kind} | {cells} |")
    totals = " | ".join(f"**{sum(counts[name].values()):,}**" for name in backends)
    return "\n".join([*lines, f"| **All** | {totals} |"])
