"""Parity: the same weights and inputs give the same numbers, and files travel, between backends.

One process a backend, as Keras has one backend a process:

    parity.py write                       outputs, gradients and files of this process' backend
    parity.py read BACKEND...             outputs of the files that the other backends wrote
    parity.py compare BACKEND...          the largest differences as a table and as a JSON file
"""

import itertools
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np
from cases import CASES
from gradients import value_and_gradients
from keras.ops import convert_to_numpy as numpy
from rich.console import Console
from rich.progress import track
from rich.table import Table

FOLDER = Path(os.environ.get("ATTN_BUILD", "build")) / "parity"
BOUND = 1e-4
"""Largest difference allowed, relative to one or, if that is more, to the largest number: of the
output, or of all gradients of the layer (some are zero but for the rounding of the others)."""


def build(case):
    """Return the case's model, with weights that are the same on every backend."""
    inputs = keras.Input(case.shape[1:])
    layer = case.make(name="layer")
    model = keras.Model(inputs, layer(inputs, **case.call))
    rng = np.random.default_rng(11)
    for weight in layer.weights:
        positive = "variance" in weight.path or "gamma" in weight.path
        noise = rng.standard_normal(weight.shape)
        weight.assign(1 + 0.1 * noise if positive else 0.5 * noise)
    return layer, model


def write(backend):
    folder = FOLDER / backend
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for number, case in enumerate(track(CASES, f"{backend}: writing")):
        layer, model = build(case)
        output, inputs, weights = value_and_gradients(layer, [case.draw()], **case.call)
        arrays[f"{number}/output"] = output
        arrays[f"{number}/gradient of the input"] = inputs[0]
        for variable, gradient in zip(layer.trainable_variables, weights, strict=True):
            arrays[f"{number}/gradient of {variable.path}"] = gradient
        model.save(folder / f"{number}.keras")
        model.save_weights(folder / f"{number}.weights.h5")
    np.savez(folder / "outputs.npz", **arrays)


def read(backend, backends):
    for other in backends:
        if other == backend:
            continue
        arrays = {}
        for number, case in enumerate(track(CASES, f"{backend}: reading the files of {other}")):
            source = FOLDER / other / f"{number}"
            _, model = build(case)
            for weight in model.weights:
                weight.assign(np.zeros(weight.shape))
            model.load_weights(f"{source}.weights.h5")
            arrays[f"{number}/.weights.h5"] = numpy(model(case.draw(), training=False))
            loaded = keras.saving.load_model(f"{source}.keras")
            arrays[f"{number}/.keras"] = numpy(loaded(case.draw(), training=False))
        np.savez(FOLDER / backend / f"from_{other}.npz", **arrays)


def difference(a, b, scale) -> float:
    """Return the largest difference, relative to `scale`."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.abs(a - b).max() / scale)


def scales(arrays) -> dict:
    """Return the largest number, at least one, by case and kind."""
    largest = {}
    for name in arrays.files:
        key = name.partition("/")[0], _kind(name)
        largest[key] = max(1.0, np.abs(arrays[name]).max(), largest.get(key, 0.0))
    return largest


def _kind(name) -> str:
    return "gradients" if "gradient" in name else "outputs"


def compare(backends) -> int:
    """Print and save the largest difference of each layer; return how many are out of bounds."""
    outputs = {name: np.load(FOLDER / name / "outputs.npz") for name in backends}
    scale = scales(outputs[backends[0]])
    worst = {}
    for one, two in itertools.permutations(backends, 2):
        if one < two:
            for name in outputs[one].files:
                kind = _kind(name)
                largest = scale[name.partition("/")[0], kind]
                value = difference(outputs[one][name], outputs[two][name], largest)
                _note(worst, name, kind, value)
        files = np.load(FOLDER / one / f"from_{two}.npz")
        for name in files.files:
            number = name.partition("/")[0]
            expected = outputs[two][f"{number}/output"]
            value = difference(expected, files[name], scale[number, "outputs"])
            _note(worst, name, "files", value)

    kinds = ("outputs", "gradients", "files")
    table = Table(title=f"Largest difference between {', '.join(backends)}")
    table.add_column("layer")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for layer, values in sorted(worst.items()):
        table.add_row(layer, *(f"{values[kind]:.1e}" for kind in kinds))
    table.add_section()
    largest = {kind: max(values[kind] for values in worst.values()) for kind in kinds}
    table.add_row(f"all {len(worst)} layers", *(f"{largest[kind]:.1e}" for kind in kinds))
    Console(width=80).print(table)

    report = {"backends": backends, "bound": BOUND, "largest": largest, "layers": worst}
    path = FOLDER / "parity.json"
    path.write_text(json.dumps(report, indent=1))
    print(f"Saved {path}")
    wrong = [layer for layer, values in worst.items() if max(values.values()) > BOUND]
    print(f"{len(worst) - len(wrong)} passed, {len(wrong)} failed")
    for layer in wrong:
        print(f"over {BOUND}: {layer} {worst[layer]}")
    return len(wrong)


def _note(worst, name, kind, value):
    layer = CASES[int(name.partition("/")[0])].layer
    values = worst.setdefault(layer, {})
    values[kind] = max(value, values.get(kind, 0.0))


if __name__ == "__main__":
    mode, *named = sys.argv[1:]
    if mode == "write":
        write(keras.config.backend())
    elif mode == "read":
        read(keras.config.backend(), named)
    else:
        sys.exit(compare(named) > 0)
