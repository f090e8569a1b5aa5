"""The errors against the reference vectors that the last test runs saw."""

import json
from pathlib import Path

ERRORS = Path(__file__).parents[1] / "build" / "reference"
BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}


def worst_errors() -> dict[str, dict[str, float]]:
    """Return the largest absolute error by layer and backend."""
    worst = {}
    for path in sorted(ERRORS.glob("*/*.json")):
        result = json.loads(path.read_text())
        row = worst.setdefault(result["layer"], {})
        row[path.parent.name] = max(row.get(path.parent.name, 0.0), *result["errors"].values())
    return worst


def table(names: tuple[str, ...] | None = None) -> str:
    """Return the errors of some layers, or of all layers and networks, in Markdown."""
    worst = worst_errors()
    shown = [name for name in names or sorted(worst) if name in worst]
    if not shown:
        return "The table appears here once the tests have run."
    backends = [name for name in BACKENDS if any(name in worst[layer] for layer in shown)]
    lines = ["| Layer | " + " | ".join(BACKENDS[name] for name in backends) + " |"]
    lines.append("|---|" + "--:|" * len(backends))
    for layer in shown:
        cells = (f"{worst[layer][name]:.1e}" if name in worst[layer] else "" for name in backends)
        lines.append(f"| `{layer}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)
