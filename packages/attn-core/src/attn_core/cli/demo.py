"""Train a small CNN on handwritten digits, without attention and with each mechanism asked for."""

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import keras
import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from typer import BadParameter

from attn_core import layers
from attn_core.catalog import Mechanism
from attn_core.layers.base import ImageLayer
from attn_core.tools.drawings import as_gate
from attn_core.tools.files import replacing
from attn_core.tools.maps import record
from attn_core.tools.pictures import show_bars, show_image, show_weights

matplotlib.use("agg")

WIDTHS = (16, 32)
BATCH_SIZE = 64
OPTIONS = {
    "external": {"memory_size": 16},
    "dot-product": {"num_heads": 4},
    "simplified": {"num_heads": 4},
    "se": {"reduction": 4},
    "sk": {"min_width": 8},
    "cbam": {"reduction": 4},
    "bam": {"reduction": 4},
    "pyramid-squeeze": {"groups": (1, 2, 4, 4), "reduction": 4},
    "emsa": {"num_heads": 4},
    "shuffle": {"groups": 4},
    "muse": {"num_heads": 4},
    "sge": {"groups": 4},
    "aft": {"max_length": 64},
    "outlook": {"num_heads": 2},
    "vip": {"segment_dim": 4},
    "coatnet": {"num_heads": 4, "key_dim": 8},
    "halo": {"block_size": 4, "halo_size": 1, "num_heads": 4},
    "coordinate": {"reduction": 4},
    "mobilevit": {"transformer_dim": 32, "num_blocks": 1},
    "mobilevit2": {},
    "ufo": {"num_heads": 4},
}
"""Arguments for maps of 16 and 32 channels, where the defaults are made for wider ones."""


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
    """Return a CNN of two convolutions, each followed by the mechanism."""
    keras.utils.set_random_seed(seed)
    inputs = x = keras.Input((8, 8, 1))
    for width in WIDTHS:
        x = keras.layers.Conv2D(width, 3, strides=width // 16, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Activation("relu")(x)
        if mechanism is not None:
            x = _attend(mechanism, x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _attend(mechanism: Mechanism, x):
    layer = getattr(layers, mechanism.layers[0])(
        **OPTIONS.get(mechanism.key, {}), name=f"attention_{x.shape[-1]}"
    )
    if isinstance(layer, ImageLayer):
        return layer(x)
    _, height, width, channels = x.shape
    tokens = keras.layers.Reshape((height * width, channels))(x)
    return keras.layers.Reshape((height, width, channels))(layer(tokens))


class _Watch(keras.callbacks.Callback):
    """Advances the bar and times each step."""

    def __init__(self, advance):
        super().__init__()
        self.advance = advance
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits for the step: some backends return before it is done
        self.seconds.append(time.perf_counter() - self.start)

    def on_epoch_end(self, epoch, logs=None):
        self.advance(1)


def load_split() -> tuple[np.ndarray, ...]:
    """Return the digits: images to train on and to test, then the labels of both."""
    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")[..., np.newaxis]
    return tuple(
        train_test_split(
            images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
        )
    )


@dataclass(frozen=True)
class Run:
    """One trained model, its accuracy after each epoch, the median time of a step."""

    model: keras.Model
    curve: list[float]
    step_ms: float


def train(mechanism: Mechanism | None, seed: int, epochs: int, split, advance) -> Run:
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
    """Train, print the table, save the pictures.

    Args:
        mechanisms: What to train with, besides no attention.
        seeds: Number of runs for each.
        epochs: Passes over the training images.
        out: Existing folder for the pictures.

    Returns:
        Whether all runs were finished; False after Ctrl-C.
    """
    for mechanism in mechanisms:
        if mechanism.family == "heads":
            raise BadParameter(f"{mechanism.key} is a classifier, not a layer between layers.")
    split = load_split()
    x_train, x_test, _, y_test = split
    rows: list[Row] = []
    finished = True
    console = Console()
    total = len(x_train) + len(x_test)
    console.print(
        f"{total} digits of 8x8 pixels: {len(x_train)} to train on, {len(x_test)} to test.",
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
    table = Table(title="Handwritten digits")
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
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", title="Accuracy on handwritten digits")
    final = min(100 * np.mean(row.accuracies) for row in rows)
    axes.set_ylim(max(0, final - 12), 100)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, out / "accuracy.png")


def _save(figure, path: Path) -> Path:
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
    plt.close(figure)
    return path


def _plot_maps(rows: list[Row], x_test, y_test, out: Path, samples: int = 8) -> Path:
    """Draw what the first attention layer of each model looks at, on one digit of each kind."""
    chosen = np.array([np.flatnonzero(y_test == digit)[0] for digit in range(samples)])
    images = x_test[chosen]
    paper = 1 - images  # dark on white
    drawn = [(row.name, _weights(row.model, images)) for row in rows[1:]]
    drawn = [
        ("digit", images),
        *((name, weights) for name, weights in drawn if weights is not None),
    ]
    figure, grid = plt.subplots(
        len(drawn), samples, figsize=(1.1 * samples + 1, 1.2 * len(drawn) + 0.4),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for (name, weights), line in zip(drawn, grid, strict=True):
        for axes, image, weight in zip(line, paper, weights, strict=True):
            if name == "digit":
                show_image(axes, image)
            elif weight.ndim == 2:
                show_weights(axes, image, weight)
            else:  # one weight per channel
                show_bars(axes, weight, max(1.0, weights.max()))
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name.replace(" (", "\n("), rotation=0, ha="right", va="center")
    figure.suptitle("What the first attention layer weighs: pixels (colour) or channels (bars)")
    return _save(figure, out / "attention_maps.png")


def _weights(model: keras.Model, images) -> np.ndarray | None:
    """Return the first attention map as weights of pixels (B, H, W), or of channels (B, C)."""
    layer = model.get_layer(f"attention_{WIDTHS[0]}")
    if not hasattr(layer, "compute_attention_shape"):
        return None
    one = record(model, images)[layer.name]
    batch, height, width = images.shape[:3]
    gates = [gate for gate in (as_gate(one, each) for each in one.each) if gate is not None]
    if gates:
        gates = [gate.repeat(WIDTHS[0] // gate.shape[-1], axis=-1) for gate in gates]
        full = (batch, height, width, WIDTHS[0])
        gate = np.prod([np.broadcast_to(each, full) for each in gates], axis=0)
        if np.ptp(gate, axis=(1, 2)).max() < 1e-6:
            return gate[:, 0, 0]
        return gate.mean(axis=-1)
    last = one.each[-1]
    if last.shape[-1] == height * width:  # attention: how much each pixel is attended to
        return last.reshape(batch, -1, height, width).mean(axis=1)
    return None
