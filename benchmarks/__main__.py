"""The benchmarks: `python -m benchmarks COMMAND`, or `nox -s bench -- COMMAND`."""

import json
import subprocess
import sys
from math import log
from pathlib import Path
from typing import Annotated

import keras
import typer
from attn_core import models
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import machine
from benchmarks.peers import results as peer_results
from benchmarks.peers import turns
from benchmarks.results import save

app = typer.Typer(no_args_is_help=True, help="Time and memory, side by side in one run.")
Folder = Annotated[Path, typer.Option(help="Folder for the JSON file.")]


def in_process(module: str, request: str) -> dict:
    """Return what a module of this folder prints last in a process, and a peak, of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", request]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{module} {request}:\n{result.stderr}")
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
        request = {"layer": layer, "config": config, "shape": [1, n, channels]}
        results.setdefault(layer, {})[n] = in_process("measure", json.dumps(request))
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
    save(results, out / f"scaling-{backend}.json")


@app.command()
def networks(
    names: Annotated[str, typer.Option(help="Networks, by commas; all without.")] = "",
    out: Folder = Path("build/bench"),
) -> None:
    """Run each network's smallest variant forward, then one training step, at its default size."""
    every = [name for name in models.__all__ if issubclass(getattr(models, name), keras.Model)]
    chosen = names.split(",") if names else every
    backend = keras.config.backend()
    table = Table(title=f"Batch 2, {backend}: compiled, the first call apart")
    headings = ("variant", "parameters", "side", "forward ms", "training ms", "peak MB", "finite")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    results = {}
    for name in track(chosen, "Running", console=Console(stderr=True)):
        results[name] = result = in_process("networks", name)
        table.add_row(
            result["variant"],
            f"{result['parameters']:,}",
            str(result["side"]),
            *(
                f"{1e3 * result['seconds'][f'{step}_again']:.0f}"
                for step in ("forward", "training")
            ),
            f"{result['peak_mb']:.0f}",
            "yes" if result["finite"] else "NO",
        )
    Console(width=100).print(table)
    save(results, out / f"networks-{backend}.json")
    if not all(result["finite"] for result in results.values()):
        raise typer.Exit(1)


@app.command()
def peers(
    cases: Annotated[str, typer.Option(help="Layers or cases, by commas; all without.")] = "",
    backends: Annotated[str, typer.Option(help="Backends, by commas; all without.")] = "",
    seconds: Annotated[float, typer.Option(help="For each measurement.")] = 0.3,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every process.")] = 3,
    peer_python: Annotated[str, typer.Option(help="Python of the PyTorch peers.")] = sys.executable,
    keep: Annotated[bool, typer.Option(help="Write docs/data/peers.json.")] = False,
    out: Folder = Path("build/bench"),
) -> None:
    """Measure the layers against timm's, PyTorch's and Keras' own, by turns."""
    try:
        wanted = turns.cases(cases)
        names = turns.chosen(backends, list(turns.BACKENDS), "--backends")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if keep and (cases or backends):
        raise typer.BadParameter("--keep measures all cases on all backends.")
    busy = machine.complaint()
    if busy and keep:
        raise SystemExit(busy)
    with turns.Turns(names, peer_python, rounds, seconds) as workers:
        content = {
            "machine": machine.name(),
            "versions": workers.versions(),
            "seconds": seconds,
            "rounds": rounds,
            "rows": [
                row
                for case in track(wanted, "Measuring", console=Console(stderr=True))
                for row in workers.rows(case)
            ],
        }
        busy = machine.complaint() or busy
    Console(width=110).print(_peers_table(content["rows"]))
    save(content, out / "peers.json")
    for failure in workers.failures:
        typer.echo(f"Not measured: {failure}", err=True)
    if busy:
        typer.echo(f"These times mean nothing. {busy}", err=True)
    if keep and (busy or workers.failures):
        raise typer.Exit(1)
    if keep:
        save(content, peer_results.KEPT)


def _peers_table(rows: list[dict]) -> Table:
    """Return the ratios as a table for the terminal."""
    table = Table(title="Time of the peer over ours: above 1, ours is faster")
    headings = ("layer", "peer", "input", "step", "difference", *turns.BACKENDS)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in turns.BACKENDS else "left")
    for row in rows:
        ratios = [f"{row['ratios'].get(name, float('nan')):.2f}" for name in turns.BACKENDS]
        shape = "x".join(map(str, row["shape"]))
        peer = row["peer"].rpartition(".")[2]
        table.add_row(row["layer"], peer, shape, row["step"], str(row["difference"]), *ratios)
    return table


if __name__ == "__main__":
    app()
