"""Gather the site in build/: its pages, those of docs/ and those made from the code, its settings.

python -m scripts.site.gather
"""

import inspect
import json
import runpy
import shutil
import string
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import attn_core
import keras
from attn_core import catalog, compat, layers, models
from attn_core.catalog import _docstrings

from scripts.checks import proof
from scripts.mutants import report
from scripts.site import (
    browser_libraries,
    cards,
    eight,
    export_support,
    field,
    licences,
    map_pictures,
    mechanism_pages,
    peer_times,
    plain_numpy,
    playground,
    proof_explorer,
    recorded_results,
    tutorials,
)
from scripts.site.collection_verdicts import PYTORCH, TENSORFLOW
from scripts.tables.markdown import table

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "build" / "docs"
SETTINGS = ROOT / "build" / "mkdocs.yml"
NETWORKS = [name for name, value in vars(models).items() if inspect.isclass(value)]
COUNTS = {
    "<!-- mechanisms -->": len(catalog.MECHANISMS),
    "<!-- networks -->": sum(issubclass(getattr(models, one), keras.Model) for one in NETWORKS),
}
"""What the home page has in the place of a mark."""
PICTURES = (
    "The pictures show attention maps. Where a layer returns none, the picture shows how much the "
    "output at the framed position changes when another position is set to zero."
)
COLLECTIONS = {"TensorFlow": TENSORFLOW, "PyTorch": PYTORCH}


def settings() -> str:
    """Return mkdocs.yml with the pages of the mechanisms in its navigation, by family."""
    lines = []
    for family in catalog.FAMILIES.values():
        lines.append(f"- {family.title}:")
        members = (one for one in catalog.MECHANISMS if one.family == family.key)
        lines += [f"    - mechanisms/{one.key}.md" for one in members]
    pages = "\n      ".join(lines)
    return string.Template((ROOT / "mkdocs.yml").read_text()).substitute(mechanisms=pages)


def api() -> str:
    """Return the page of all functions, classes and networks; layers have pages of their own."""
    functions = [name for name, value in vars(attn_core).items() if inspect.isfunction(value)]
    lines = ["# API", "", "## Functions", ""]
    lines += [f"::: attn_core.{name}\n" for name in functions]
    lines += ["## Classes", "", "::: attn_core.Profile\n", "::: attn_core.Backup\n"]
    rows = [
        [f"`{name}`", f"[{one.name}](mechanisms/{one.key}.md#import-and-signature)"]
        for one in catalog.MECHANISMS
        for name in one.layers
    ]
    lines += ["## Layers", "", table(["Layer", "Mechanism"], rows)]
    lines += ["", "## Networks", ""]
    lines += [f"::: attn_core.models.{name}\n" for name in NETWORKS]
    return "\n".join(lines)


def differences() -> str:
    """Return the page of what differs: the section of that name in every docstring."""
    lines = [
        "# What differs",
        "",
        "Papers, released code and the collections that people copy from do not always compute "
        "the same. Where paper and released code differ, the default is the released code, because "
        "the published results were made with it.",
        "",
    ]
    for mechanism in catalog.MECHANISMS:
        place = f'<span id="{proof_explorer.anchor(mechanism)}"></span>'
        lines += [place, "", f"## {mechanism.number}. {mechanism.name}", ""]
        for name in mechanism.layers:
            lines += [f"**`{name}`** {_docstrings.differences(getattr(layers, name))}", ""]
        if rows := in_collections(mechanism):
            lines += [table(["Collection", "Name there", "As the authors", "Otherwise"], rows), ""]
    return "\n".join(lines)


def in_collections(mechanism: catalog.Mechanism) -> list[list[str]]:
    """Return what the External-Attention collections make of a mechanism."""
    return [
        [collection, f"`{name}`", *verdicts[name]]
        for name, function in {**compat.TENSORFLOW, **compat.PYTORCH}.items()
        if mechanism in mechanisms(function)
        for collection, verdicts in COLLECTIONS.items()
        if name in verdicts
    ]


@cache
def mechanisms(function: Callable[..., object]) -> list[catalog.Mechanism]:
    """Return the mechanisms of the layers that a name of the collections may give."""
    classes = [one for kind in kinds(function) for one in kind.__mro__]
    return [found for one in classes if (found := catalog.find(one.__name__))]


def kinds(function: Callable[..., object]) -> tuple[type, ...]:
    """Return the layers that a name of the collections may give."""
    returned = inspect.signature(function).return_annotation
    return get_args(returned) or (returned,)


def old_names() -> str:
    """Return the page of the External-Attention collections' names."""
    lines = [
        "# Coming from External-Attention",
        "",
        "Change only the import: `from attention.SEAttention import SEAttention` becomes "
        "`from attn_core.compat import SEAttention`. The layers compute what the authors' code "
        "computes. Where a collection computes something else, results change, and you cannot "
        "use weights that were trained with it.",
        "",
        "The names are those of the collection for TensorFlow, and, for the mechanisms that it "
        "lacks, those of the collection for PyTorch. Images are channels last for both: in a "
        "snippet of the collection for PyTorch, `(3, 64, 7, 7)` becomes `(3, 7, 7, 64)`. Only "
        "`AxialAttention` takes both, by its own argument `dim_index`.",
        "",
        *collections(),
        "",
        "## Names and arguments",
        "",
        names(compat.TENSORFLOW),
        "",
        "For the mechanisms that only the collection for PyTorch has:",
        "",
        names(compat.PYTORCH),
        "",
        "The networks `DAT`, `CrossFormer`, `MOATransformer` and `AxialImageTransformer` of that "
        "collection are not included; the attention layers of the first two are.",
    ]
    return "\n".join(lines)


def names(functions: compat.Table) -> str:
    """Return the table of old names and their arguments."""
    rows = []
    for name, function in functions.items():
        old = inspect.signature(function)
        bare = [one.replace(annotation=one.empty) for one in list(old.parameters.values())[:-1]]
        signature = inspect.Signature(bare)  # without Keras' own arguments
        new = " or ".join(f"`{kind.__name__}`" for kind in kinds(function))
        rows.append([f"`{name}{signature}`", new, " ".join((function.__doc__ or "").split())])
    return table(["Old name and arguments", "Layer", "Arguments there"], rows)


def collections() -> list[str]:
    """Return what the collections' layers compute, as lines of Markdown."""
    counts = []
    for collection, verdicts in COLLECTIONS.items():
        same = [verdict for verdict, _ in verdicts.values()]
        counts.append(
            f"Of the {len(same)} names for {collection}, {same.count('yes')} compute the same as "
            f"the authors' code, and {same.count('in part')} do so in part."
        )
    rows = [[f"`{name}`", *(judged(name, one) for one in COLLECTIONS.values())] for name in PYTORCH]
    return [
        "## What their layers compute",
        "",
        f"{' '.join(counts)} No layer for TensorFlow can be loaded from a `.keras` file, and most "
        "need a fixed batch size. [What differs](differences.md) also has the differences between "
        "papers and released code.",
        "",
        table(["Old name", *(f"As the authors, for {one}" for one in COLLECTIONS)], rows),
    ]


def judged(name: str, verdicts: dict[str, tuple[str, str]]) -> str:
    """Return whether a collection's layer computes the same as the authors' code, and how not."""
    return ": ".join(filter(None, verdicts.get(name, ("not in this collection", ""))))


def contributing() -> str:
    """Return CONTRIBUTING.md with its links as they are on the site."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.replace("](docs/", "](").replace("](CHANGELOG.md", "](changelog.md")


def parameters() -> str:
    """Return the table of the networks' parameters; a test counts them in our networks."""
    counted = runpy.run_path(str(ROOT / "tests" / "networks.py"))["PARAMETERS"]
    rows = [
        [f"`{name}`", f"`{variant}`", f"{count:,}"]
        for name, variants in counted.items()
        for variant, count in variants.items()
    ]
    return (
        "The numbers were counted in the authors' networks. `tests/test_models.py` counts them "
        "again in the networks here: each is equal.\n\n"
        + table(["Network", "Variant", "Trainable parameters"], rows, numbers=1)
    )


def planted_faults() -> str:
    """Return the table of `nox -s mutants`, as its last run with `--keep` left it."""
    return report.table(json.loads(report.KEPT.read_text()))


def errors_of_networks() -> str:
    """Return the largest errors of the networks, and what they were measured with."""
    rows = [[f"`{name}`", *_worst((name,))] for name in NETWORKS]
    rows = [row for row in rows if any(row[1:])]
    installed = ", ".join(
        f"{name} {number}" for name, number in proof.content()["versions"].items()
    )
    backends = recorded_results.BACKENDS.values()
    return (
        f"## Networks\n\n{table(['Network', *backends], rows, numbers=len(backends))}\n\n"
        f"Everything on this page was measured with {installed}."
    )


def _worst(names: tuple[str, ...]) -> list[str]:
    found = recorded_results.worst(names)
    return [f"{found[name]:.1e}" if name in found else "" for name in recorded_results.BACKENDS]


def in_numpy() -> str:
    """Return how far each mechanism in NumPy is from its layer, and the helpers that all share."""
    rows = []
    for one in plain_numpy.written():
        link = f"[{one.name}](mechanisms/{one.key}.md#in-numpy)"
        size, largest = mechanism_pages.difference(one.key)
        rows.append([link, plain_numpy.lines(one.key), f"{size:.0e}", f"{largest:.2g}"])
    headings = ["Mechanism", "Lines of code", "Largest difference", "Largest output"]
    shared = plain_numpy.HELPERS.read_text()
    return (
        f"{table(headings, rows, numbers=3)}\n\n"
        f"## What they share\n\n[{plain_numpy.HELPERS.name}](numpy/{plain_numpy.HELPERS.name}):\n\n"
        f"```python\n{shared}```"
    )


def add(page: str, text: str) -> None:
    """Add text to a page of docs/."""
    with (TARGET / page).open("a") as file:
        file.write(f"\n{text}\n")


def put(page: str, mark: str, text: str) -> None:
    """Put text in the place of a mark on a page of docs/.

    Raises:
        ValueError: If the page does not have the mark.
    """
    path = TARGET / page
    before, found, after = path.read_text().partition(mark)
    if not found:
        raise ValueError(f"docs/{page} has no {mark}")
    path.write_text(before + text + after)


def main() -> None:
    """Write all pages and the settings."""
    shutil.rmtree(TARGET, ignore_errors=True)
    not_shown = shutil.ignore_patterns("__pycache__", "ruff.toml")
    shutil.copytree(ROOT / "docs", TARGET, ignore=not_shown)
    SETTINGS.write_text(settings())
    if map_pictures.FOLDER.exists():
        pictures = shutil.ignore_patterns("*.json", map_pictures.NETWORKS)
        shutil.copytree(map_pictures.FOLDER, TARGET / "maps", ignore=pictures)
        playground.write(TARGET / "assets" / "playground")
        add("playground.md", playground.section())
        put("index.md", "<!-- eight -->", eight.section())
    (TARGET / "mechanisms").mkdir()
    for mechanism in catalog.MECHANISMS:
        page = mechanism_pages.page(mechanism)
        (TARGET / "mechanisms" / f"{mechanism.key}.md").write_text(page)
    cards.write(TARGET / "cards")
    browser_libraries.copy(TARGET / "assets" / "lib")
    field.write(TARGET / "assets" / "field.json")
    (TARGET / "api.md").write_text(api())
    (TARGET / "differences.md").write_text(differences())
    (TARGET / "external-attention.md").write_text(old_names())
    (TARGET / "contributing.md").write_text(contributing())
    shutil.copy(ROOT / "CHANGELOG.md", TARGET / "changelog.md")
    tutorials.write(TARGET / "tutorials")
    add("tutorials.md", tutorials.overview())
    for mark, count in COUNTS.items():
        put("index.md", mark, str(count))
    add("index.md", f"## The gallery\n\n{PICTURES}\n\n{mechanism_pages.gallery()}")
    add("choose.md", mechanism_pages.chooser())
    if times := field.latency():
        add("choose.md", mechanism_pages.measured_times(times))
    add("compare.md", mechanism_pages.every_layer())
    peer_times.write(TARGET)
    add("proof.md", proof_explorer.explorer())
    add("proof.md", errors_of_networks())
    add("deploy.md", export_support.table())
    add("numpy.md", in_numpy())
    add("models.md", f"## The variants\n\n{parameters()}")
    add("trust.md", f"### The libraries\n\n{licences.table()}")
    add("trust.md", f"### The libraries of this site\n\n{licences.browser_table()}")
    add("trust.md", f"## The bad input tested\n\n{recorded_results.bad_input()}")
    if report.KEPT.exists():
        add("verification.md", f"## The planted faults\n\n{planted_faults()}")


if __name__ == "__main__":
    main()
