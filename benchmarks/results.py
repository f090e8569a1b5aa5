"""Where the benchmarks leave their numbers."""

import json
from pathlib import Path

import typer


def save(results: dict, path: Path) -> None:
    """Write results as JSON, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1))
    typer.echo(f"Saved {path}")
