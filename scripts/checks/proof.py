"""Keep what the tests measured in docs/data/proof.json, from which pages and badges are made.

The tests leave their measurements in build/, a file for each reference vector or half-precision
dtype of a layer, and backend. This takes over those of this process' backend, and forgets vectors
that are no longer there.

nox -s proof            run the tests of the vectors on every backend, and keep their errors
nox -s proof -- torch   on one backend
"""

import importlib.metadata
import json
from pathlib import Path

import keras
import numpy as np

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "data" / "proof.json"
BUILD = ROOT / "build"
VECTORS = ROOT / "tests" / "golden"
PACKAGES = ("keras", "numpy", "jax", "tensorflow", "torch")
KINDS = {"output": "output", "grad": "gradient", "output_training": "training"}
"""How the tests begin the name of an error, and what it is the error of."""


def content() -> dict:
    """Return what the file holds, nothing where there is none."""
    empty: dict = {"versions": {}, "vectors": {}, "half": {}, "refused": {}}
    return empty | json.loads(FILE.read_text()) if FILE.exists() else empty


def meta(case: str) -> dict:
    """Return what a vector says of itself: layer, arguments, the code that made it."""
    with np.load(VECTORS / f"{case}.npz", allow_pickle=False) as archive:
        return json.loads(str(archive["meta"]))


def largest(errors: dict[str, float]) -> dict[str, float]:
    """Return the largest error of each kind, with three digits."""
    worst: dict[str, float] = {}
    for name, error in errors.items():
        kind = KINDS[name.partition("/")[0]]
        worst[kind] = max(worst.get(kind, 0.0), float(f"{error:.2e}"))
    return worst


def merged(known: dict, backend: str, build: Path, vectors: set[str]) -> dict:
    """Return the content with the measurements of a backend that lie in `build`."""
    rows = {case: row for case, row in known["vectors"].items() if case in vectors}
    for path in sorted((build / "reference" / backend).glob("*.json")):
        result = json.loads(path.read_text())
        if result["case"] in vectors:
            row = rows.setdefault(result["case"], {"layer": result["layer"], "errors": {}})
            row["atol"] = result["atol"]
            row["errors"][backend] = largest(result["errors"])
    half = {layer: dict(errors) for layer, errors in known["half"].items()}
    for path in sorted((build / "half" / backend).glob("*.json")):
        result = json.loads(path.read_text())
        row = half.setdefault(result["layer"], {}).setdefault(backend, {})
        row[result["dtype"]] = float(f"{result['error']:.2e}")
    refused, counts = known["refused"], build / "bad_input" / f"{backend}.json"
    if counts.exists():
        refused = refused | {backend: json.loads(counts.read_text())}
    installed = known["versions"] | versions()
    return {
        "versions": {name: installed[name] for name in PACKAGES if name in installed},
        "vectors": dict(sorted(rows.items())),
        "half": dict(sorted(half.items())),
        "refused": refused,
    }


def versions(*more: str) -> dict[str, str]:
    """Return the installed versions of the libraries that take part, and of `more`."""
    found = {}
    for one in importlib.metadata.distributions():
        name = one.name.lower().replace("_", "-").removesuffix("-cpu")
        found[name] = one.version.partition("+")[0]
    return {name: found[name] for name in (*PACKAGES, *more) if name in found}


def written(known: dict) -> str:
    """Return the content as JSON, a vector or a layer a line."""

    def lines(rows: dict) -> str:
        return ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in rows.items())

    return (
        f'{{\n "versions": {json.dumps(known["versions"])},\n'
        f' "vectors": {{\n{lines(known["vectors"])}\n }},\n'
        f' "half": {{\n{lines(known["half"])}\n }},\n'
        f' "refused": {json.dumps(known["refused"])}\n}}\n'
    )


def main() -> None:
    """Take over what this process' backend measured."""
    vectors = {path.stem for path in VECTORS.glob("*.npz")}
    backend = keras.config.backend()
    known = merged(content(), backend, BUILD, vectors)
    FILE.write_text(written(known))
    measured = [row for row in known["vectors"].values() if backend in row["errors"]]
    print(f"{FILE.relative_to(ROOT)}: {len(measured)} of {len(vectors)} vectors on {backend}")


if __name__ == "__main__":
    main()
