"""What Keras exports, as `nox -s exports` wrote it into docs/data/exports.json."""

import json
import re
import textwrap
from pathlib import Path

from scripts.site.recorded_results import BACKENDS
from scripts.tables import markdown

FILE = Path(__file__).parents[2] / "docs" / "data" / "exports.json"
FORMATS = {"saved_model": "SavedModel", "onnx": "ONNX", "litert": "LiteRT"}


def content() -> dict:
    """Return what the file holds, nothing where there is none."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"versions": {}, "cells": []}


def support(name: str) -> dict[str, str]:
    """Return by format the backends from which a layer can be exported, or why from none."""
    cells = [cell for cell in content()["cells"] if cell["layer"] == name]
    rows = {}
    for key, title in FORMATS.items():
        tried = [cell for cell in cells if cell["format"] == key]
        works = {cell["backend"] for cell in tried if cell["works"]}
        reasons = dict.fromkeys(reason(cell) for cell in tried if not cell["works"])
        if works:
            rows[title] = ", ".join(label for key, label in BACKENDS.items() if key in works)
        elif tried:
            rows[title] = f"no: {'; '.join(reasons)}"
    return rows


def reason(cell: dict) -> str:
    """Return the beginning of an error's message, on one line, as code."""
    plain = re.sub(r"\x1b\[\d+m|[`|]", "", cell["why"])
    return f"`{textwrap.shorten(plain, 160, placeholder=' ...')}`"


def table() -> str:
    """Return what is exported, with the sizes that formats leave open, by backend, in Markdown."""
    cells, versions = content()["cells"], content()["versions"]
    if not cells:
        return ""
    rows = [
        [f"`{name}`", *(_open_sizes(name, key, cells) for key in FORMATS)]
        for name in dict.fromkeys(cell["layer"] for cell in cells)
    ]
    failures = {}
    for cell in cells:
        if cell["why"]:
            tried = f"{FORMATS[cell['format']]} from {BACKENDS[cell['backend']]}"
            tried += ", with more dynamic sizes" if cell["works"] else ""
            failures.setdefault(f"- {tried}, {reason(cell)}", []).append(f"`{cell['layer']}`")
    largest = max(cell["difference"] or 0.0 for cell in cells if cell["works"])
    installed = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts = [
        "## What was exported",
        "Each layer, and a small network of each class, was exported, loaded again, run and "
        "compared with Keras. The table "
        "lists the backends from which the export works and, in brackets, which sizes of the input "
        "may be dynamic; an empty cell was not measured. The largest absolute "
        f"difference of those that work is {largest:.1e}. Versions: {installed}.",
        markdown.table(["Layer or network", *FORMATS.values()], rows),
    ]
    if failures:
        lines = [f"{what}: {', '.join(names)}" for what, names in sorted(failures.items())]
        parts += ["### What failed", "\n".join(lines)]
    return "\n\n".join(parts)


def _open_sizes(name: str, key: str, cells: list[dict]) -> str:
    """Return the backends that write a layer in a format, with the sizes that stay open."""
    tried = [cell for cell in cells if (cell["layer"], cell["format"]) == (name, key)]
    widest = {}
    for cell in tried:
        if cell["works"]:
            known = widest.get(cell["backend"], "")
            widest[cell["backend"]] = max(known, cell["dynamic"], key=len)
    by_size = {}
    for backend, label in BACKENDS.items():
        if backend in widest:
            by_size.setdefault(widest[backend] or "none", []).append(label)
    entries = [f"{', '.join(labels)} ({size})" for size, labels in by_size.items()]
    return "; ".join(entries) or ("no" if tried else "")
