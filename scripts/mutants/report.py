"""What is kept of a run: numbers by module, and why survivors are harmless."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the site shows the table without the tools that made it
    from scripts.mutants.running import Result


KEPT = Path("docs/data/mutants.json")
HARMLESS = Path(__file__).parent / "harmless.json"
"""Faults that no test can notice, with the reason, by module and change."""
BOUND = 0.95
"""The share of the mutants that the tests must catch, the harmless ones left out."""


def summarize(results: Iterable[Result], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the content of docs/data/mutants.json: a survivor with a reason is harmless."""
    reasons = json.loads(HARMLESS.read_text(encoding="utf-8"))
    modules: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"mutants": 0, "caught": 0, "timeout": 0, "harmless": 0, "survivors": []}
    )
    for result in results:
        name = result.mutant.module.removeprefix("attn_core/")
        numbers, change = modules[name], result.mutant.change
        numbers["mutants"] += 1
        if result.verdict not in ("caught", "timeout"):
            reason = reasons.get(name, {}).get(change, "")
            numbers["harmless"] += bool(reason)
            numbers["survivors"].append({"change": change, "reason": reason})
        else:
            numbers["caught"] += 1
            numbers["timeout"] += result.verdict == "timeout"
    total = {
        key: sum(numbers[key] for numbers in modules.values())
        for key in ("mutants", "caught", "timeout", "harmless")
    }
    return {**settings, **total, "modules": dict(sorted(modules.items()))}


def table(content: dict[str, Any]) -> str:
    """Return the Markdown table of the page "How we verify": one row for each module."""
    rows = [
        "| Module | Mutants | Caught | Harmless | Survivors |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for module, numbers in content["modules"].items():
        survivors = "<br>".join(
            f"`{survivor['change'].replace('|', chr(92) + '|')}`: {survivor['reason']}"
            for survivor in numbers["survivors"]
        )
        counts = " | ".join(str(numbers[key]) for key in ("mutants", "caught", "harmless"))
        rows.append(f"| `{module}` | {counts} | {survivors} |")
    counts = " | ".join(str(content[key]) for key in ("mutants", "caught", "harmless"))
    rows.append(f"| together | {counts} | |")
    return "\n".join(rows)
