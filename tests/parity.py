"""Parity: the same weights and inputs give the same numbers, and files travel, between backends.

One process a backend, as Keras has one backend a process:

    parity.py write                       outputs, gradients and files of this process' backend
    parity.py read BACKEND...             weights of the files that the other backends wrote
    parity.py compare BACKEND...          the largest differences as a table and as a JSON file

One case of each layer; at the end of all three, `--every-case` takes every configuration, and
`--one-a-family` one layer of each family, as CI does: there the reference vectors have compared the
numbers of all layers on each backend.
"""

import itertools
import json
import os
import sys
from pathlib import Path

import host_random
import keras
import numpy as np
from cases import CASES, FIRST
from gradients import compile_gradients
from keras.ops import convert_to_numpy as numpy
from rich.console import Console
from rich.progress import track
from rich.table import Table

SAMPLES = {
    "--every-case": CASES,
    "--one-a-family": list({case.record.family: case for case in FIRST}.values()),
}
CHOSEN = next((cases for option, cases in SAMPLES.items() if option in sys.argv), FIRST)
FOLDER = Path(os.environ.get("ATTN_BUILD", "build")) / "parity"
BOUND = 1e-4
"""Largest difference allowed, relative to one or, if that is more, to the largest number: of the
output, or of all gradients of the layer (some are zero but for the rounding of the others)."""


def build(case):
    """Return the case's model, with weights that are the same on every backend."""
    inputs = keras.Input(case.shape[1:])
    layer = case.make(name="layer")
    model = keras.Model(inputs, layer(inputs))
    rng = np.random.default_rng(11)
    for weight in layer.weights:
        positive = "variance" in weight.path or "gamma" in weight.path
        noise = rng.standard_normal(weight.shape)
        value = 1 + 0.1 * noise if positive else 0.5 * noise
        weight.assign(value.astype("float32"))
    return layer, model


def extremes(case) -> dict[str, np.ndarray]:
    """Return inputs that have led to NaN where sums overflow or divisors are zero."""
    return {
        "zeros": np.zeros(case.shape, "float32"),
        "a constant": np.full(case.shape, 3.0, "float32"),
        "large numbers": case.draw(scale=1e4),
    }


def write(backend):
    """Compile each layer with its gradients once, and use that for every kind of input."""
    folder = FOLDER / backend
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for number, case in enumerate(track(CHOSEN, f"{backend}: writing")):
        layer, model = build(case)
        run = compile_gradients(layer, [case.draw()])
        output, inputs, weights = run([case.draw()])
        arrays[f"{number}/output"] = output
        arrays[f"{number}/gradient of the input"] = inputs[0]
        for variable, gradient in zip(layer.trainable_variables, weights, strict=True):
            arrays[f"{number}/gradient of {variable.path}"] = gradient
        for kind, x in extremes(case).items():
            found = keras.tree.flatten(run([x]))
            if not all(np.isfinite(one).all() for one in found if one is not None):
                sys.exit(f"{case.id} on {backend}: not finite for {kind}")
        model.save(folder / f"{number}.keras")
        model.save_weights(folder / f"{number}.weights.h5")
    np.savez(folder / "outputs.npz", **arrays)


def read(backend, backends):
    """Load the files of other backends: every weight and the configuration must be as written.

    What a layer computes from equal weights is compared by `compare`, without the files.
    """
    for other in backends:
        if other == backend:
            continue
        worst = {}
        for number, case in enumerate(track(CHOSEN, f"{backend}: reading the files of {other}")):
            source = FOLDER / other / f"{number}"
            layer, model = build(case)
            expected = {weight.path: numpy(weight) for weight in layer.weights}
            for weight in layer.weights:
                weight.assign(np.zeros(weight.shape, weight.dtype))
            model.load_weights(f"{source}.weights.h5")
            loaded = keras.saving.load_model(f"{source}.keras").get_layer("layer")
            same = loaded.get_config() == layer.get_config()
            worst[number] = max(files_differ(expected, one) for one in (layer, loaded))
            worst[number] = worst[number] if same else float("inf")
        (FOLDER / backend / f"from_{other}.json").write_text(json.dumps(worst))


def files_differ(expected, layer) -> float:
    """Return the largest difference of a loaded layer's weights from the expected ones."""
    found = {weight.path: numpy(weight) for weight in layer.weights}
    if found.keys() != expected.keys():
        return float("inf")
    return max((difference(found[path], expected[path], 1.0) for path in found), default=0.0)


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
        files = json.loads((FOLDER / one / f"from_{two}.json").read_text())
        for number, value in files.items():
            _note(worst, number, "files", value)

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
    layer = CHOSEN[int(name.partition("/")[0])].layer
    values = worst.setdefault(layer, {})
    values[kind] = max(value, values.get(kind, 0.0))


if __name__ == "__main__":
    host_random.install()
    mode, *named = [word for word in sys.argv[1:] if word not in SAMPLES]
    if mode == "write":
        write(keras.config.backend())
    elif mode == "read":
        read(keras.config.backend(), named)
    else:
        sys.exit(compare(named) > 0)
