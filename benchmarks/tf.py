"""What attn_tf is worth, measured on TensorFlow: `nox -s bench-tf -- COMMAND`.

filters   the portable global filter against the FFTs; attn_tf's default follows its table
exports   what export reports of networks with untrained weights
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import attn_core
import attn_tf
import keras
import numpy as np
import tensorflow as tf
import typer
from attn_core import models
from rich.console import Console
from rich.table import Table

from benchmarks.results import save

app = typer.Typer(no_args_is_help=True, help="Filters and exports on TensorFlow.")
Folder = Annotated[Path, typer.Option(help="Folder for the JSON file.")]

SHAPES = {7: 512, 14: 256, 28: 128, 56: 64}
"""Channels at each side, as in GFNet-H-Ti."""

MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "XLA": lambda function: tf.function(function, jit_compile=True),
}


def medians(calls: dict[str, Callable], seconds: float) -> dict[str, float]:
    """Return the median milliseconds of each call; they take turns, so busy moments meet all."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()  # compiles
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(next(iter(times.values()))) < 5:
        for name, call in calls.items():
            tick = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - tick))
    return {name: statistics.median(values) for name, values in times.items()}


def forms(layer, x) -> dict[str, Callable]:
    """Return functions that compute the output, and the output with all gradients."""

    def output():
        return layer(x)

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x)))
        return tape.gradient(loss, [x, *layer.trainable_weights])

    return {"output": output, "with gradients": gradients}


def waiting(function) -> Callable:
    """Return `function` as a call that ends when its results are there."""
    return lambda: [one.numpy() for one in tf.nest.flatten(function())]


def compare(pair: dict, shape: tuple, seconds: float) -> list[dict]:
    """Return a row for each mode: milliseconds of both layers, which have the same weights."""
    x = tf.constant(np.random.default_rng(0).standard_normal(shape).astype("float32"))
    for layer in pair.values():
        layer(x)
    portable, fft = pair.values()
    fft.set_weights(portable.get_weights())
    rows = []
    for kind in ("output", "with gradients"):
        for mode, compiled in MODES.items():
            calls = {name: waiting(compiled(forms(one, x)[kind])) for name, one in pair.items()}
            results = [call() for call in calls.values()]
            error = max(np.abs(a - b).max() for a, b in zip(*results, strict=True))
            rows.append({"kind": kind, "mode": mode, "error": float(error)})
            rows[-1] |= medians(calls, seconds)
    return rows


@app.command()
def filters(
    sides: Annotated[str, typer.Option(help="Sides of the images, by commas.")] = "7,14,28,56",
    batch: Annotated[int, typer.Option(min=1)] = 8,
    seconds: Annotated[float, typer.Option(help="For each measurement.")] = 2.0,
    network: Annotated[bool, typer.Option(help="Measure GFNet-Ti too.")] = True,
    out: Folder = Path("build/bench"),
) -> None:
    """Measure the portable global filter and the FFT one: eager, graph, XLA."""
    results = {}
    for side in [int(part) for part in sides.split(",")]:
        pair = {
            "portable": attn_core.GlobalFilter(),
            "fft": attn_tf.GlobalFilter(method="fft"),
        }
        shape = (batch, side, side, SHAPES.get(side, 128))
        results["x".join(map(str, shape[1:]))] = compare(pair, shape, seconds)
    if network:
        pair = {
            "portable": models.GFNet.from_variant("gfnet_ti"),
            "fft": attn_tf.GFNet.from_variant("gfnet_ti"),
        }
        results["GFNet-Ti"] = compare(pair, (batch, 224, 224, 3), 4 * seconds)
    table = Table(title=f"Batch {batch}: median ms portable / FFT (ratio: above 1, FFT is faster)")
    for column in ("", "", *MODES):
        table.add_column(column, justify="right" if column else "left")
    for name, rows in results.items():
        for kind in ("output", "with gradients"):
            cells = [
                f"{row['portable']:.1f} / {row['fft']:.1f} ({row['portable'] / row['fft']:.2f})"
                for row in rows
                if row["kind"] == kind
            ]
            table.add_row(name if kind == "output" else "", kind, *cells)
    Console(width=100).print(table)
    save(results, out / "filters-tensorflow.json")


def small_cnn() -> keras.Model:
    """Return a CNN of three convolutions, each followed by CBAM."""
    x = images = keras.Input((64, 64, 3))
    for filters in (16, 32, 64):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = attn_core.CBAM(4)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(10)(x), name="cnn_with_cbam")


NETWORKS = {
    "CNN with CBAM": (small_cnn, 64),
    "GFNet-Ti": (lambda: models.GFNet.from_variant("gfnet_ti"), 224),
    "GFNet-H-Ti of attn_tf": (lambda: attn_tf.GFNetPyramid.from_variant("gfnet_h_ti"), 224),
    "MobileViT-XXS": (lambda: models.MobileViT.from_variant("mobilevit_xxs"), 256),
    "MobileViTv2-0.5": (lambda: models.MobileViTv2.from_variant("mobilevitv2_050"), 256),
}


@app.command()
def exports(out: Folder = Path("build/bench")) -> None:
    """Export networks as SavedModel and LiteRT, in 32 and 8 bits; compare after reloading."""
    table = Table(title="Untrained weights, batch 1: largest difference of outputs up to ...")
    for column in ("network", "artefact", "difference", "output", "MiB", "ms"):
        table.add_column(column, justify="left" if column in ("network", "artefact") else "right")
    results = {}
    for name, (make, side) in NETWORKS.items():
        keras.utils.set_random_seed(0)
        model, draw = make(), np.random.default_rng(0).standard_normal
        data = [draw((1, side, side, 3)).astype("float32") for _ in range(16)]
        if any("moving_variance" in one.path for one in model.non_trainable_weights):
            for _ in range(60):  # the statistics become those of such inputs
                model(draw((4, side, side, 3)).astype("float32"), training=True)
        for format, quantize in (
            ("saved_model", None),
            ("litert", None),
            ("litert", "dynamic"),
            ("litert", "int8"),
        ):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / ("model" if format == "saved_model" else "model.tflite")
                options = {"representative_data": data} if quantize == "int8" else {}
                report = attn_tf.export(
                    model, path, format, sample=data[0], quantize=quantize, **options
                )
            kind = f"{format}, {quantize}" if quantize else format
            results.setdefault(name, {})[kind] = {
                "max_difference": report.max_difference,
                "largest_output": report.largest_output,
                "size_bytes": report.size_bytes,
                "latency_ms": report.latency_ms,
                "note": report.note,
            }
            table.add_row(
                name if format == "saved_model" else "",
                kind,
                f"{report.max_difference:.1e}",
                f"{report.largest_output:.1e}",
                f"{report.size_bytes / 2**20:.1f}",
                f"{report.latency_ms:.1f}",
            )
    Console(width=100).print(table)
    save(results, out / "exports-tensorflow.json")


if __name__ == "__main__":
    app()
