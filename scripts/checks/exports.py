"""Export every layer and network through Keras, reload it, compare: docs/data/exports.json.

Each layer, in a model of its own with a dynamic batch and, where it takes any size, dynamic sizes,
is exported with random weights, reloaded by the format's own runtime and compared at several
batches and sizes. So is a small network of each class, with its initial weights.
What fails is recorded with its reason.

nox -s "exports(jax)"                       what is not there yet, under this backend
nox -s "exports(jax)" -- --again CBAM       these layers, anew
nox -s "exports(jax)" -- --failed           what has a reason, anew
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import re
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from attn_core import models
from cases import FIRST, Case
from networks import TINY

TABLE = Path(__file__).parents[2] / "docs" / "data" / "exports.json"
FORMATS = {
    "tensorflow": ("saved_model", "onnx", "litert"),
    "jax": ("saved_model", "onnx"),
    "torch": ("onnx",),
}
"""What Keras exports with a dynamic batch, under each backend. It has no LiteRT for JAX, takes only
fixed shapes from PyTorch to LiteRT, and goes from PyTorch to SavedModel by torch_xla, which knows
no PyTorch after 2.9."""
PACKAGES = (
    *("keras", "tensorflow", "jax", "torch"),
    *("tf2onnx", "jax2onnx", "onnxruntime", "ai-edge-litert"),
)
BOUND = 1e-4
"""Largest difference between an artefact's outputs and those of its model."""
SECONDS = 300
"""How long one export may take."""
MISSING = re.compile(r"No Op registered for \w+|the operator '[\w:]+' to ONNX .*? is not supported")
"""The part of an error that names the operation that a format or converter lacks."""


@dataclass(frozen=True)
class Network:
    """A small network, with the attributes of a layer's case that an export needs."""

    layer: str

    def make(self) -> keras.Model:
        """Return the network."""
        return getattr(models, self.layer)(**TINY[self.layer], num_classes=5)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of two images."""
        return (2, *(self._fixed or (64, 64)), 3)

    @property
    def other(self) -> tuple[int, ...] | None:
        """Another size, if the network takes any."""
        return None if self._fixed else (64, 96)

    @property
    def _fixed(self) -> tuple[int, ...] | None:
        size = TINY[self.layer].get("image_size")
        return (size, size) if isinstance(size, int) else size

    draw = Case.draw


def first_cases() -> dict:
    """Return the first case of each layer, then the networks, by their names."""
    return {case.layer: case for case in FIRST} | {name: Network(name) for name in TINY}


def variants(case) -> dict:
    """Return what can be dynamic, most of it first, with the input shapes to compare at."""
    size = case.shape[1:]
    found = {"batch": [(1, *size), (3, *size)]}
    if case.other is not None:
        name = "batch, length" if len(case.other) == 1 else "batch, height, width"
        found = {name: [(1, *size), (3, *size), (2, *case.other, size[-1])]} | found
    return found


def build(case, dynamic: str) -> keras.Model:
    """Return a model of the layer alone, with random weights, or of the network."""
    size = case.shape[1:] if dynamic == "batch" else (*[None] * len(case.other), case.shape[-1])
    inputs = keras.Input(size, name="input")
    model = keras.Model(inputs, case.make()(inputs))
    if isinstance(case, Network):
        return model
    rng = np.random.default_rng(5)
    for weight in model.weights:  # zero-initialised gates would hide what lies behind them
        positive = "variance" in weight.path or "gamma" in weight.path
        spread = rng.standard_normal(weight.shape)
        weight.assign(1 + 0.1 * spread if positive else 0.5 * spread)
    return model


def artefact(model, format: str, folder: Path, sample):
    """Export the model and return the reloaded artefact: a function of the input."""
    if format == "saved_model":
        import tensorflow as tf

        model.export(folder / "saved_model", format="tf_saved_model", verbose=False)
        reloaded = tf.saved_model.load(folder / "saved_model")
        return lambda x: np.asarray(reloaded.serve(x))
    if format == "litert":
        from attn_tf import litert

        path = folder / "model.tflite"
        litert.write(model, path, litert.quantization(None, model, []))
        run, _ = litert.reload(model, path, sample)
        return lambda x: run(x)[0]
    import onnxruntime

    path = str(folder / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (only,) = session.get_inputs()
    return lambda x: session.run(None, {only.name: x})[0]


def attempt(layer: str, format: str, dynamic: str) -> tuple[float | None, str]:
    """Return the largest difference of a layer's artefact, or None; and why it fails, or ""."""
    case = first_cases()[layer]
    model = build(case, dynamic)
    try:
        with tempfile.TemporaryDirectory() as folder:
            model(case.draw())  # Keras wants it called once
            run, largest = artefact(model, format, Path(folder), case.draw()), 0.0
            for shape in variants(case)[dynamic]:
                x = case.draw(shape)
                expected, output = keras.ops.convert_to_numpy(model(x, training=False)), run(x)
                if output.shape != expected.shape:
                    return None, f"{output.shape} instead of {expected.shape} for {shape}"
                largest = max(largest, float(np.abs(output - expected).max()))
    except Exception as error:  # whatever a converter raises
        return None, reason(error)
    if not largest <= BOUND:
        return None, f"differs by {largest:.1e}"
    return largest, ""


def reason(error: BaseException) -> str:
    """Return an error on one line, without what Keras puts around it, paths and serial numbers."""
    text = re.sub(r"\x1b\[\d*m|Exception encountered when calling \S+", "", str(error))
    text = " ".join(text.partition("Arguments received by")[0].split())
    text = re.sub(r"(?:/[\w.+-]+)+/|functional(?:_\d+)+/?", "", text)
    if missing := MISSING.search(text):
        text = missing[0]
    return f"{type(error).__name__}: {textwrap.shorten(text, 240, placeholder=' ...')}"


def work(connection) -> None:
    """Attempt what comes through the connection, until it closes."""
    while request := connection.recv():
        connection.send(attempt(*request))


class Worker:
    """A process that exports: a converter may take it down, or never end."""

    def __init__(self):
        self.process = None

    def attempt(self, *request) -> tuple[float | None, str]:
        """Return what `attempt` returns, or why it did not."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=work, args=(theirs,))
            self.process.start()
            theirs.close()
        self.connection.send(request)
        try:
            if self.connection.poll(SECONDS):
                difference, why = self.connection.recv()
                if difference is None:
                    self.stop()  # the next starts anew: a converter that failed may fail again
                return difference, why
            why = f"takes more than {SECONDS} seconds"
        except EOFError:
            self.process.join()
            why = f"ends the process with code {self.process.exitcode}"
        self.stop()
        return None, why

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
        self.process = None


def measure(worker: Worker, layer: str, backend: str, format: str) -> dict:
    """Return the cell of the table: with as much dynamic as works."""
    reasons = []
    for dynamic in variants(first_cases()[layer]):
        difference, why = worker.attempt(layer, format, dynamic)
        if why:
            reasons.append(f"{dynamic}: {why}")
        if difference is not None:
            break
    cell = {"layer": layer, "backend": backend, "format": format, "dynamic": dynamic}
    works = difference is not None
    return cell | {"works": works, "difference": difference, "why": "; ".join(reasons)}


def versions() -> dict:
    """Return the installed versions of the packages that take part."""
    found = {}
    for one in importlib.metadata.distributions():
        name = one.name.lower().replace("_", "-").removesuffix("-cpu")
        found[name] = one.version.partition("+")[0]
    return {name: found[name] for name in PACKAGES if name in found}


def read() -> dict:
    """Return the table as it is on file."""
    return json.loads(TABLE.read_text()) if TABLE.exists() else {"versions": {}, "cells": []}


def write(table: dict) -> None:
    """Save the table, a cell a line, in order."""
    order = list(first_cases()), list(FORMATS), FORMATS["tensorflow"]

    def place(cell):
        values = cell["layer"], cell["backend"], cell["format"]
        return [names.index(value) for names, value in zip(order, values, strict=True)]

    cells = ",\n".join(f"  {json.dumps(cell)}" for cell in sorted(table["cells"], key=place))
    known = json.dumps(table["versions"])
    TABLE.write_text(f'{{\n "versions": {known},\n "cells": [\n{cells}\n ]\n}}\n')


def main() -> None:
    """Fill in the cells of this process' backend."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layers", nargs="*", help="names of layers and networks (default: all)")
    parser.add_argument("--again", action="store_true", help="replace what is there")
    parser.add_argument("--failed", action="store_true", help="replace what is there with a reason")
    options = parser.parse_args()
    if unknown := set(options.layers) - set(first_cases()):
        parser.error(f"Name layers and networks of attn_core. Received: {sorted(unknown)}")
    backend, worker = keras.config.backend(), Worker()
    for layer in options.layers or list(first_cases()):
        for format in FORMATS[backend]:
            key = layer, backend, format
            there = [c for c in read()["cells"] if (c["layer"], c["backend"], c["format"]) == key]
            if there and not options.again and not (options.failed and there[0]["why"]):
                continue
            cell = measure(worker, *key)
            table = read()  # as it is now
            table["cells"] = [cell] + [one for one in table["cells"] if one not in there]
            table["versions"] |= versions()
            write(table)
            print(*key, cell["dynamic"], cell["difference"], cell["why"], flush=True)
    worker.stop()


if __name__ == "__main__":
    main()
