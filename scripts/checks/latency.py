"""Measure the mechanisms' times on this machine, into docs/data/latency.json; the site draws them.

nox -s latency          measure on all backends, on a machine that does nothing else
"""

import json
import sys

import keras
from attn_core._tools.profiling import profile
from attn_core.catalog import EXAMPLE, MECHANISMS, Mechanism

from benchmarks import machine
from scripts.checks.proof import versions
from scripts.site import field
from scripts.site.mechanism_pages import input_shape, new

BATCH = 8


def measured(mechanism: Mechanism) -> dict[str, float]:
    """Return the medians of a forward pass and of a training step, compiled, in milliseconds."""
    name = mechanism.principal
    found = profile(new(name), (BATCH, *input_shape(name)), modes=("compiled",))
    times = found.latency.get("compiled", {})
    return {step: round(time.median_ms, 3) for step, time in times.items()}


def merged(known: dict | None, backend: str, times: dict[str, dict[str, float]], on: str) -> dict:
    """Return the content with the times of a backend, which another machine's times do not join."""
    rows = known["rows"] if known and known["machine"] == on else []
    others = {row["key"]: row["times"] for row in rows}
    return {
        "machine": on,
        "input": [BATCH, EXAMPLE.height, EXAMPLE.width, EXAMPLE.channels],
        "versions": (known["versions"] if rows else {}) | versions(),
        "rows": [
            {"key": key, "times": others.get(key, {}) | ({backend: one} if one else {})}
            for key, one in times.items()
        ],
    }


def main() -> int:
    """Measure on this process' backend; return the exit status."""
    if complaint := machine.complaint():
        print(complaint)
        return 1
    times = {}
    for mechanism in MECHANISMS:
        times[mechanism.key] = measured(mechanism)
        print(mechanism.key, times[mechanism.key], flush=True)
    content = merged(field.latency(), keras.config.backend(), times, machine.name())
    field.LATENCY.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
