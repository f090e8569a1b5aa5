"""The benchmarks: `python -m benchmarks COMMAND`, or `nox -s bench -- COMMAND`."""

import json
import subprocess
import sys
from math import log
from pathlib import Path
from typing import Annotated

import keras
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Time and memory, side by side in one run.")
Folder = Annotated[Path, typer.Option(help="Folder for the JSON file.")]


@app.callback()
def _main() -> None:
    """Keep `scaling` a command of its own."""


def measure(layer: str, config: dict, shape: list) -> dict:
    request = json.dumps({"layer": layer, "config": config, "shape": shape})
    command = [sys.executable, "-m", "benchmarks.measure", request]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{layer} at {shape}:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


@app.command()
def scaling(
    tokens: Annotated[str, typer.Option(help="Sequence lengths, by commas.")] = "256,1024,4096",
    channels: Annotated[int, typer.Option(min=1)] = 64,
    out: Folder = Path("build/bench"),
) -> None:
    """Measure how time and memory of the token mechanisms grow with the number of tokens."""
    lengths = [int(part) for part in tokens.split(",")]
    configs = {
        "ExternalAttention": {},
        "UFOAttention": {},
        "SeparableSelfAttention": {},
        "AFTFull": {"max_length": max(lengths)},
        "ScaledDotProductAttention": {},
    }
    work = [(layer, n) for layer in configs for n in lengths]
    results = {}
    for layer, n in track(work, "Measuring", console=Console(stderr=True)):
        config = {"max_length": n} if layer == "AFTFull" else configs[layer]
        results.setdefault(layer, {})[n] = measure(layer, config, [1, n, channels])
    backend = keras.config.backend()
    table = Table(title=f"Forward pass, batch 1, {channels} channels, {backend}: ms and peak MB")
    table.add_column("layer")
    for n in lengths:
        table.add_column(f"N = {n}", justify="right")
    table.add_column("slope in N", justify="right")
    for layer, by_length in results.items():
        cells = [f"{r['least_ms']:.2f} ms, {r['peak_mb']:.0f} MB" for r in by_length.values()]
        first, last = by_length[lengths[0]]["least_ms"], by_length[lengths[-1]]["least_ms"]
        slope = log(last / first) / log(lengths[-1] / lengths[0])
        table.add_row(layer, *cells, f"{slope:.2f}")
    Console(width=100).print(table)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"scaling-{backend}.json"
    path.write_text(json.dumps(results, indent=1))
    typer.echo(f"Saved {path}")


if __name__ == "__main__":
    app()
