"""The machine that measures: what it is, and whether it is idle."""

import os
import platform
from pathlib import Path

BUSY = 20.0
"""Percent of the processor that others may take."""


def name() -> str:
    """Return the processor, the number of its cores and the system."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def complaint() -> str | None:
    """Return why the machine cannot measure now, `None` if it is idle. It takes three seconds."""
    import psutil  # which the tests do without

    used = psutil.cpu_percent(interval=3.0)
    if used <= BUSY:
        return None
    return f"The machine must do nothing else. Received: {used:.0f} % of the processor in use."
