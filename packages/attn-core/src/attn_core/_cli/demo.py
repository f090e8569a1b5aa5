"""`attn demo`: train a small CNN to read one digit of three, without attention and with mechanisms.

A scene has three handwritten digits, a red, a green and a blue one, at random places. A square in
its upper left corner has one of the colours, and the network has to name the digit of this colour.
A convolution sees a small part of the scene only, so the network has to compare distant places.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from typer import BadParameter

from attn_core import layers
from attn_core._tools.adapter import call_on_image
from attn_core._tools.drawings import as_gate
from attn_core._tools.files import replacing
from attn_core._tools.maps import record
from attn_core._tools.pictures import show_bars, show_image, show_weights
from attn_core.catalog import LAYERS, Mechanism, Size

matplotlib.use("agg")

WIDTHS = (32, 64)
"""The channels after each convolution."""
BATCH_SIZE = 64
SIDE = 32
"""Height and width of a scene in pixels; a digit has 8 x 8."""
CELLS = tuple((8 * row, 8 * column) for row in range(4) for column in range(4))[1:]
"""Where a digit can be: its first row and column. The square has the place (0, 0)."""
SCENES = {"train": 3000, "test": 1000}

Split: TypeAlias = tuple[np.ndarray, ...]
"""Images to train on and to test on, then the labels of both."""

Advance: TypeAlias = Callable[[int], object]
"""Is called with the number of finished epochs, after each."""


@dataclass
class Row:
    """The finished runs of one mechanism."""

    name: str
    parameters: int = 0
    accuracies: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    curves: list[list[float]] = field(default_factory=list)
    model: keras.Model | None = None


def build_model(mechanism: Mechanism | None, seed: int) -> keras.Model:
    """Return a CNN of two convolutions, each followed by the mechanism, if there is one."""
    keras.utils.set_random_seed(seed)
    inputs = x = keras.Input((SIDE, SIDE, 3))
    for width in WIDTHS:
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Activation("relu")(x)
        if mechanism is not None:
            x = call_on_image(_attention(mechanism, x), x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _attention(mechanism: Mechanism, x: keras.KerasTensor) -> keras.layers.Layer:
    _, height, width, channels = x.shape
    required = LAYERS[mechanism.principal].required(Size(height, width, channels))
    arguments = {**required, **mechanism.small, "name": f"attention_{channels}"}
    return getattr(layers, mechanism.principal)(**arguments)


class _Watch(keras.callbacks.Callback):
    """Advances the bar and times each step."""

    def __init__(self, advance: Advance) -> None:
        super().__init__()
        self.advance = advance
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        float(logs["loss"])  # waits for the step: some backends return before it is done
        self.seconds.append(time.perf_counter() - self.start)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.advance(1)


def load_split() -> Split:
    """Return the scenes; those to test on are made of digits that those to train on do not have."""
    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    rng = np.random.default_rng(0)
    x_train, y_train = draw_scenes(x_train, y_train, SCENES["train"], rng)
    x_test, y_test = draw_scenes(x_test, y_test, SCENES["test"], rng)
    return x_train, x_test, y_train, y_test


def draw_scenes(
    digits: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return scenes, `(count, SIDE, SIDE, 3)`, and the digit of the square's colour in each."""
    scenes = np.zeros((count, SIDE, SIDE, 3), "float32")
    chosen = rng.integers(len(digits), size=(count, 3))  # one digit of each colour
    asked = rng.integers(3, size=count)
    for scene, drawn, colour in zip(scenes, chosen, asked, strict=True):
        scene[1:6, 1:6, colour] = 1
        for one, cell in enumerate(rng.permutation(len(CELLS))[:3]):
            row, column = CELLS[cell]
            scene[row : row + 8, column : column + 8, one] = digits[drawn[one]]
    return scenes, labels[chosen[np.arange(count), asked]]


@dataclass(frozen=True)
class Run:
    """A trained model, its accuracy after each epoch, and the median time of a step."""

    model: keras.Model
    curve: list[float]
    step_ms: float


def train(
    mechanism: Mechanism | None, seed: int, epochs: int, split: Split, advance: Advance
) -> Run:
    """Train one model; `advance(1)` is called after each epoch."""
    x_train, x_test, y_train, y_test = split
    watch = _Watch(advance)
    model = build_model(mechanism, seed)
    history = model.fit(
        x_train,
        y_train,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=(x_test, y_test),
        callbacks=[watch],
        verbose=0,
    )
    curve = [float(accuracy) for accuracy in history.history["val_accuracy"]]
    return Run(model, curve, 1e3 * float(np.median(watch.seconds)))


def run_demo(mechanisms: list[Mechanism], seeds: int, epochs: int, out: Path) -> bool:
    """Train, print the table, save the figures.

    Args:
        mechanisms: The mechanisms to train with; there is a training without any too.
        seeds: Number of runs for each.
        epochs: Passes over the training images.
        out: Existing folder for the figures.

    Returns:
        Whether all runs were finished: not after Ctrl-C.
    """
    for mechanism in mechanisms:
        if mechanism.family == "heads":
            raise BadParameter(f"{mechanism.key} is a classifier, not a layer between layers.")
    split = load_split()
    x_train, x_test, _, y_test = split
    rows: list[Row] = []
    finished = True
    console = Console()
    console.print(
        f"{len(x_train)} scenes to train on, {len(x_test)} to test. Each has three handwritten "
        "digits: name the one that has the colour of the square.",
        highlight=False,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
            for mechanism in (None, *mechanisms):
                row = Row(mechanism.name if mechanism else "no attention")
                for seed in range(seeds):
                    label = f"{row.name}, seed {seed + 1} of {seeds}"
                    bar = progress.add_task(label, total=epochs)
                    advance = partial(progress.advance, bar)
                    run = train(mechanism, seed, epochs, split, advance)
                    row.curves.append(run.curve)
                    row.accuracies.append(run.curve[-1])
                    row.step_ms.append(run.step_ms)
                    row.parameters, row.model = run.model.count_params(), run.model
                rows.append(row)
    except KeyboardInterrupt:
        finished = False
        console.print("Interrupted: the table holds the mechanisms that were finished.")
    if rows:
        console.print(_table(rows, seeds))
        for path in (_plot_accuracy(rows, out), _plot_maps(rows, x_test, y_test, out)):
            console.print(f"Saved {path}", highlight=False, soft_wrap=True)
    return finished


def _table(rows: list[Row], seeds: int) -> Table:
    runs = "1 run" if seeds == 1 else f"mean of {seeds} runs"
    table = Table(title="The digit of the square's colour")
    table.add_column("mechanism")
    for heading in ("extra parameters", f"test accuracy\n({runs})", "ms per step"):
        table.add_column(heading, justify="right")
    for row in rows:
        spread = f" ± {100 * np.std(row.accuracies):.2f}" if seeds > 1 else ""
        table.add_row(
            row.name,
            f"{row.parameters - rows[0].parameters:,}",
            f"{100 * np.mean(row.accuracies):.2f}%{spread}",
            f"{np.median(row.step_ms):.2f}",
        )
    return table


def _plot_accuracy(rows: list[Row], out: Path) -> Path:
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for row in rows:
        curve = 100 * np.mean(row.curves, axis=0)
        style = {"color": "black", "linestyle": "--"} if row is rows[0] else {}
        axes.plot(np.arange(1, len(curve) + 1), curve, label=row.name, **style)
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", title="Accuracy on unseen scenes")
    axes.set_ylim(0, 100)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, out / "accuracy.png")


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
    plt.close(figure)
    return path


def _plot_maps(
    rows: list[Row], x_test: np.ndarray, y_test: np.ndarray, out: Path, samples: int = 8
) -> Path:
    """Draw the map of the first attention layer of each model, for answers from 0 to 7."""
    chosen = np.array([np.flatnonzero(y_test == digit)[0] for digit in range(samples)])
    images = x_test[chosen]
    drawn = [(row.name, _weights(row.model, images)) for row in rows[1:]]
    drawn = [
        ("scene", images),
        *((name, weights) for name, weights in drawn if weights is not None),
    ]
    figure, grid = plt.subplots(
        len(drawn), samples, figsize=(1.1 * samples + 1, 1.2 * len(drawn) + 0.4),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for (name, weights), line in zip(drawn, grid, strict=True):
        for axes, image, weight in zip(line, images, weights, strict=True):
            if name == "scene":
                show_image(axes, image)
            elif weight.ndim == 2:
                show_weights(axes, image, weight)
            else:  # one weight per channel
                show_bars(axes, weight, max(1.0, weights.max()))
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name.replace(" (", "\n("), rotation=0, ha="right", va="center")
    figure.suptitle("Weights of the first attention layer: of places (colour) or channels (bars)")
    return _save(figure, out / "attention_maps.png")


def _weights(model: keras.Model, images: np.ndarray) -> np.ndarray | None:
    """Return the map of the first attention layer, or `None` if it has none.

    It holds weights of places, (B, H, W), or of channels, (B, C).
    """
    layer = model.get_layer(f"attention_{WIDTHS[0]}")
    if not layer.maps:
        return None
    one = record(model, images)[layer.name]
    batch, height, width = len(images), SIDE // 2, SIDE // 2
    gates = [
        gate for gate in (as_gate(one, index) for index in range(len(one.each))) if gate is not None
    ]
    if gates:
        gates = [gate.repeat(WIDTHS[0] // gate.shape[-1], axis=-1) for gate in gates]
        full = (batch, height, width, WIDTHS[0])
        gate = np.prod([np.broadcast_to(each, full) for each in gates], axis=0)
        if np.ptp(gate, axis=(1, 2)).max() < 1e-6:
            return gate[:, 0, 0]
        return gate.mean(axis=-1)
    last = one.each[-1]
    if last.shape[-1] == height * width:  # how much attention each pixel gets
        return last.reshape(batch, -1, height, width).mean(axis=1)
    return None
