"""What was measured, docs/data/proof.json, as tables: errors against the vectors, bad input."""

from functools import cache

from attn_core.catalog import Mechanism

from scripts.checks import proof
from scripts.tables.markdown import table

BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
SOURCES = {
    "authors": ("Authors' code", "made with the authors' code"),
    "port": ("Port", "made with code by others than the authors"),
    "equations": ("Equations", "computed in float64 from the equations of the paper"),
}
"""How the vectors of a mechanism were made, on its badge and in a sentence."""
UNMEASURED = "These errors have not been measured yet (`nox -s proof`)."


def badge(mechanism: Mechanism) -> str:
    """Return the badge that says how the vectors of a mechanism were made, as HTML."""
    word, text = SOURCES[mechanism.evidence]
    return (
        f'<span class="badge badge-{mechanism.evidence}" title="Its reference vectors were {text}">'
        f"{word}</span>"
    )


@cache
def vectors(names: tuple[str, ...]) -> dict[str, dict]:
    """Return what was measured at each vector of some layers, or networks."""
    rows = proof.content()["vectors"]
    return {case: row for case, row in rows.items() if row["layer"] in names}


def worst(names: tuple[str, ...]) -> dict[str, float]:
    """Return the largest error of some layers on each backend where one was measured."""
    found: dict[str, float] = {}
    for row in vectors(names).values():
        for backend, errors in row["errors"].items():
            found[backend] = max(found.get(backend, 0.0), *errors.values())
    return {backend: found[backend] for backend in BACKENDS if backend in found}


def cases(names: tuple[str, ...]) -> str:
    """Return a table of the vectors of some layers: errors, configuration, source."""
    rows = []
    for case, row in vectors(names).items():
        meta = proof.meta(case)
        given = ", ".join(f"{key}={value!r}" for key, value in meta["config"].items())
        errors = (_largest(row["errors"].get(backend)) for backend in BACKENDS)
        rows.append([*errors, f"`{row['layer']}({given})`", source(meta)])
    return table([*BACKENDS.values(), "Vector", "Made with"], rows, len(BACKENDS), after=2)


def source(meta: dict) -> str:
    """Return what made a vector, with a link to the very file where there is one."""
    reference = meta["reference"]
    repository, commit, path = (reference[name] for name in ("repo", "commit", "path"))
    if not commit:
        return "the paper's equations"
    name = "/".join(repository.split("/")[-2:])
    return f"[{name}]({repository}/blob/{commit}/{path}) `{reference['class']}`"


def _largest(errors: dict[str, float] | None) -> str:
    return f"{max(errors.values()):.1e}" if errors else ""


def bad_input() -> str:
    """Return the number of cases of bad input by kind and backend, in Markdown."""
    counts = proof.content()["refused"]
    backends = [name for name in BACKENDS if name in counts]
    if not backends:
        return UNMEASURED
    kinds = dict.fromkeys(kind for name in backends for kind in counts[name])
    rows = [[kind, *(counts[name].get(kind, "") for name in backends)] for kind in kinds]
    rows.append(["**All**", *(f"**{sum(counts[name].values()):,}**" for name in backends)])
    return table(["Bad input", *map(BACKENDS.get, backends)], rows, numbers=len(backends))
