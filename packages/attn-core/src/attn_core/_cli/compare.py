"""`attn compare`: measure the mechanisms at one input shape, in a table and a plot."""

import csv
import json
import os
import platform
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import keras
import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer import BadParameter

from attn_core import layers
from attn_core._tools.files import replacing
from attn_core._tools.profiling import Mode, profile, short, timed
from attn_core._version import __version__
from attn_core.catalog import LAYERS, Mechanism, Size
from attn_core.layers._base import ImageLayer

matplotlib.use("agg")
notes = Console(stderr=True, highlight=False)


Row: TypeAlias = dict[str, Any]
"""The numbers of a layer, by name: a row of the table."""


class Results:
    """The measurements, in a file that a later run with the same settings continues.

    Args:
        path: The JSON file.
        settings: What the numbers depend on, besides the layers.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.measured: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        try:
            content = json.loads(path.read_text())
            before, self.measured = content["settings"], content["measured"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadParameter(f"{path} is no comparison of this command: {error!r}.") from None
        for name, value in settings.items():
            if before.get(name) != value:
                raise BadParameter(
                    f"{path} holds a comparison with {name} {before.get(name)}, not {value}: "
                    "choose another --out, or delete that file."
                )

    def missing(self, key: str) -> bool:
        """Return whether there is no result yet, or a failure that is worth another try."""
        return "failed" in self.measured.get(key, {"failed": ""})

    def add(self, key: str, result: dict) -> None:
        """Keep a result."""
        self.measured[key] = result
        self.save()

    def save(self, **more: Any) -> None:
        """Write the file; it is complete at any moment."""
        content = {"settings": self.settings, **more, "measured": self.measured}
        write(self.path, json.dumps(content, indent=1))


def write(path: Path, content: str) -> None:
    """Replace a file by a new one."""
    with replacing(path) as unfinished:
        unfinished.write_text(content)


def run_compare(
    mechanisms: list[Mechanism],
    shape: tuple[int, ...],
    out: Path,
    *,
    every_layer: bool = False,
    mode: Mode = "compiled",
    sizes: tuple[int, ...] = (),
    seeds: int = 0,
    epochs: int = 6,
    seconds: float = 1.0,
) -> bool:
    """Measure, print the table, write the table and the plot.

    Args:
        mechanisms: The mechanisms to compare.
        shape: Shape of the input: tokens, or an image, whose positions layers on tokens get.
        out: Existing folder for the files.
        every_layer: Whether to take every layer of a mechanism, or only the principal one.
        mode: "eager" or "compiled".
        sizes: Further heights of the image, or numbers of tokens, for the plot.
        seeds: Number of trainings on the demo's task for each mechanism; 0 = none.
        epochs: Passes over its images.
        seconds: How long to repeat each measurement.

    Returns:
        Whether everything was measured: not after Ctrl-C.
    """
    settings = {
        "shape": text(shape),
        "mode": mode,
        "seconds": seconds,
        "backend": keras.config.backend(),
        "version": __version__,
    }
    results = Results(out / "compare.json", settings)
    shapes = sorted({shape, *(resized(shape, size) for size in sizes)})
    names = {
        name: mechanism
        for mechanism in mechanisms
        for name in (mechanism.layers if every_layer else [mechanism.principal])
    }
    tasks = {cost_key(name, shape): (cost, name, shape, mode, seconds, True) for name in names}
    for name in names:
        for other in shapes:
            key = cost_key(name, other)
            tasks.setdefault(key, (cost, name, other, mode, seconds, False))
    learners = [None, *(m for m in mechanisms if m.family != "heads")]  # those are classifiers
    if seeds:
        from attn_core._cli.demo import load_split

        split = load_split()
        for learner in learners:
            for seed in range(seeds):
                key = accuracy_key(learner, seed, epochs)
                tasks[key] = (accuracy, learner, seed, epochs, split)

    finished = _work(tasks, results)
    rows = [
        {"layer": name, "mechanism": mechanism.key, **measured}
        for name, mechanism in names.items()
        if (measured := results.measured.get(cost_key(name, shape)))
    ]
    if seeds:
        rows.insert(0, {"layer": "no attention"})
        for row, learner in _learning_rows(rows, learners):
            keys = [accuracy_key(learner, seed, epochs) for seed in range(seeds)]
            row |= _accuracies([results.measured[key] for key in keys if key in results.measured])
    _report([row for row in rows if len(row) > 1], results, out, finished)
    if len(shapes) > 1:
        _plot(list(names), shapes, results, out)
        notes.print(f"Saved {out / 'compare.png'}", soft_wrap=True)
    return finished


def _learning_rows(
    rows: list[Row], learners: list[Mechanism | None]
) -> list[tuple[Row, Mechanism | None]]:
    """Pair the rows that have an accuracy with the mechanism that was trained, or `None`."""
    by_layer = {learner.principal if learner else "no attention": learner for learner in learners}
    return [(row, by_layer[row["layer"]]) for row in rows if row["layer"] in by_layer]


def _work(tasks: dict[str, tuple[Any, ...]], results: Results) -> bool:
    """Do the missing measurements; show the progress on standard error, if it is a terminal."""
    open_tasks = {key: task for key, task in tasks.items() if results.missing(key)}
    if len(open_tasks) < len(tasks):
        there = len(tasks) - len(open_tasks)
        notes.print(f"Continuing: {there} of {len(tasks)} measurements are there.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(
            *columns, TimeElapsedColumn(), console=notes, disable=not notes.is_terminal
        ) as progress:
            bar = progress.add_task("", total=len(tasks), completed=len(tasks) - len(open_tasks))
            for key, (measure, *arguments) in open_tasks.items():
                progress.update(bar, description=key)
                results.add(key, measure(*arguments))
                keras.utils.clear_session()
                progress.advance(bar)
    except KeyboardInterrupt:
        notes.print("Interrupted: the same command continues from here.")
        return False
    return True


# One measurement: a dictionary for the JSON file.


def cost(
    name: str, shape: tuple[int, ...], mode: Mode, seconds: float, training: bool
) -> dict[str, Any]:
    """Return what a layer costs, or why it does not take such an input."""
    layer = getattr(layers, name)
    image = issubclass(layer, ImageLayer)
    if not image and len(shape) == 4:
        shape = (shape[0], shape[1] * shape[2], shape[3])
    config = arguments(name, shape)
    try:
        made = layer(**config, **({"data_format": "channels_last"} if image else {}))
        made.build(shape)
        found = profile(made, shape, modes=(mode,), training=training, seconds=seconds)
    except ValueError as error:
        return {"reason": " ".join(str(error).split())}
    except Exception as error:  # an error of the backend: the other layers are measured
        return {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
    if mode in found.failed:
        return {"failed": found.failed[mode]}
    times = {
        f"{step}_{what}": getattr(latency, what)
        for step, latency in found.latency[mode].items()
        for what in ("median_ms", "spread_ms", "least_ms")
    }
    return {
        "input": text(shape),
        "arguments": ", ".join(f"{key}={value}" for key, value in config.items()),
        "trainable_parameters": found.trainable_parameters,
        "other_parameters": found.other_parameters,
        "multiply_adds": found.total_multiply_adds,
        "peak_mb": found.peak_bytes / 2**20,
        "training_mb": found.training_bytes / 2**20,
        **times,
    }


def arguments(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the arguments of a layer that have no default."""
    height, width = shape[1:-1] if len(shape) == 4 else (shape[1], 1)
    return dict(LAYERS[name].required(Size(height, width, shape[-1])))


def accuracy(
    mechanism: Mechanism | None, seed: int, epochs: int, split: tuple[Any, ...]
) -> dict[str, float]:
    """Return the test accuracy of the demo's network, trained with a mechanism or without."""
    from attn_core._cli.demo import train

    return {"accuracy": train(mechanism, seed, epochs, split, lambda epoch: None).curve[-1]}


def accuracy_key(mechanism: Mechanism | None, seed: int, epochs: int) -> str:
    """Return the name of a training among the results."""
    return f"{mechanism.key if mechanism else 'no attention'}, seed {seed}, {epochs} epochs"


def cost_key(name: str, shape: tuple[int, ...]) -> str:
    """Return the name of a layer's cost among the results."""
    return f"{name} {text(shape)}"


def text(shape: tuple[int, ...]) -> str:
    """Return a shape as the command takes it, for example 8x14x14x256."""
    return "x".join(map(str, shape))


def resized(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Return the shape of an image resized to height `size`, or of `size` tokens."""
    batch, length, *width, channels = shape
    if any(side * size % length for side in width):
        raise BadParameter(f"an image of {length}x{width[0]} cannot become {size} pixels high.")
    return (batch, size, *(side * size // length for side in width), channels)


def usual_sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return half the height and double the height, or a quarter of the tokens and four times."""
    factor = 2 if len(shape) == 4 else 4
    smaller = (shape[1] // factor,) if all(n % factor == 0 for n in shape[1:-1]) else ()
    return (*smaller, shape[1] * factor)


# What is reported.


def _accuracies(found: list[dict[str, float]]) -> Row:
    values = [one["accuracy"] for one in found]
    if not values:
        return {}
    spread = float(np.std(values))
    return {"accuracy": float(np.mean(values)), "accuracy_spread": spread, "seeds": len(values)}


def _time(row: Row, step: str) -> str:
    return timed(row[f"{step}_median_ms"], row[f"{step}_spread_ms"])


def _accuracy(row: Row) -> str:
    spread = f" ± {100 * row['accuracy_spread']:.2f}" if row["seeds"] > 1 else ""
    return f"{100 * row['accuracy']:.2f}{spread}"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "layer": lambda row: row["layer"],
    "input": lambda row: row["input"],
    "arguments": lambda row: row["arguments"],
    "trainable parameters": lambda row: f"{row['trainable_parameters']:,}",
    "statistics": lambda row: f"{row['other_parameters']:,}",
    "multiply-adds": lambda row: short(row["multiply_adds"]),
    "forward ms": partial(_time, step="forward"),
    "training ms": partial(_time, step="training"),
    "peak MB": lambda row: f"{row['peak_mb']:.3g}",
    "training MB": lambda row: f"{row['training_mb']:.3g}",
    "accuracy %": _accuracy,
}
"""The columns of the table: the heading, and the text of a row."""

TEXT_COLUMNS = ("layer", "input", "arguments")
"""The columns that do not hold numbers."""


def _cell(write: Callable[[Row], str], row: Row) -> str:
    try:
        return write(row)
    except KeyError:
        return ""


def _report(rows: list[Row], results: Results, out: Path, finished: bool) -> None:
    """Print the table, and write it as CSV, JSON and Markdown."""
    shown = [row for row in rows if "reason" not in row and "failed" not in row]
    missing = [
        f"{row['layer']}: {row.get('reason') or 'failed: ' + row['failed']}"
        for row in rows
        if row not in shown
    ]
    cells = {name: [_cell(write, row) for row in shown] for name, write in COLUMNS.items()}
    cells = {name: column for name, column in cells.items() if any(column)}
    settings = results.settings
    title = f"{settings['shape']}, {settings['mode']} on {settings['backend']}"
    markdown = _markdown(cells, missing)
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(title=title)
        for name in cells:
            side = "left" if name in TEXT_COLUMNS else "right"
            table.add_column(name, justify=side, no_wrap=name == "layer")
        for line in zip(*cells.values(), strict=True):
            table.add_row(*line)
        console.print(table, *missing, sep="\n", markup=False)
    else:
        print(markdown)

    introduction = (
        f"# {title}\n\nattn-core {settings['version']}, Keras {keras.version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, device "
        f"{keras.ops.zeros(()).device}. Times: median ± distance of the quartiles, over "
        f"{settings['seconds']} s each.\n\n"
    )
    state = "" if finished else "Interrupted: not all was measured.\n\n"
    write(out / "compare.md", introduction + state + markdown)
    results.save(rows=rows)
    with replacing(out / "rows.csv") as unfinished, unfinished.open("w", newline="") as file:
        lines = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        lines.writeheader()
        lines.writerows(rows)
    for name in ("compare.md", "compare.json", "rows.csv"):
        notes.print(f"Saved {out / name}", soft_wrap=True)


def _markdown(cells: dict[str, list[str]], missing: list[str]) -> str:
    lines = [
        "| " + " | ".join(cells) + " |",
        "|" + "".join("---|" if name in TEXT_COLUMNS else "--:|" for name in cells),
        *("| " + " | ".join(line) + " |" for line in zip(*cells.values(), strict=True)),
        "",
        *(f"- {reason}" for reason in missing),
    ]
    return "\n".join(lines) + "\n"


def _plot(names: list[str], shapes: list[tuple[int, ...]], results: Results, out: Path) -> None:
    """Draw multiply-adds and time of a forward pass against the number of positions."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 7), layout="constrained", sharex=True)
    styles = [(colour, line) for line in ("-", "--", ":", "-.") for colour in range(10)]
    for (colour, line), name in zip(styles * len(names), names, strict=False):
        found = [results.measured.get(cost_key(name, shape), {}) for shape in shapes]
        for axes, value in zip(panels, ("multiply_adds", "forward_median_ms"), strict=True):
            points = [
                (prod(shape[1:-1]), one[value])
                for shape, one in zip(shapes, found, strict=True)
                if one.get(value)
            ]
            if len(points) > 1:
                style = {"color": f"C{colour}", "linestyle": line, "marker": ".", "label": name}
                axes.loglog(*zip(*points, strict=True), **style)
    positions = "pixels or tokens"
    panels[0].set(title="Multiply-adds of a forward pass", xlabel=positions)
    panels[1].set(title="Time of a forward pass (ms)", xlabel=positions)
    for axes in panels:
        ticks = [prod(shape[1:-1]) for shape in shapes]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    lines = {line.get_label(): line for axes in panels for line in axes.lines}
    figure.legend(lines.values(), lines, loc="outside right center", fontsize="small")
    with replacing(out / "compare.png") as unfinished:
        figure.savefig(unfinished, dpi=150, format="png")
    plt.close(figure)
