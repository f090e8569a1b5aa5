"""Gather the site's pages in build/docs: those in docs/, and those made from the code.

python scripts/docs_pages.py
"""

import inspect
import math
import runpy
import shutil
import warnings
from pathlib import Path

import attn_core
import bad_input_table
import exported
import keras
import licences
import mechanism_pages
import verified
from attn_core import catalog, compat, layers, models
from collection_texts import DIFFERENCES
from docstring_sections import differences as differs

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "build" / "docs"


def api() -> str:
    """Return the page of all functions and networks; layers have pages of their own."""
    functions = [n for n in attn_core.__all__ if inspect.isfunction(getattr(attn_core, n))]
    lines = ["# API", "", "## Functions", ""]
    lines += [f"::: attn_core.{name}\n" for name in functions]
    lines += ["## Layers", "", "| Layer | Mechanism |", "|---|---|"]
    for mechanism in catalog.MECHANISMS:
        page = f"[{mechanism.name}](mechanisms/{mechanism.key}.md#import-and-signature)"
        lines += [f"| `{name}` | {page} |" for name in mechanism.layers]
    lines += ["", "## Networks", ""]
    lines += [f"::: attn_core.models.{name}\n" for name in models.__all__]
    return "\n".join(lines)


def differences() -> str:
    """Return the page of what differs: the section of that name in every docstring."""
    lines = [
        "# What differs",
        "",
        "Papers, released code and the collections people copy from do not always compute the "
        "same. Where paper and released code differ, the default is the released code: it made "
        "the published numbers.",
        "",
    ]
    for mechanism in catalog.MECHANISMS:
        lines += [f"## {mechanism.number}. {mechanism.name}", ""]
        for name in mechanism.layers:
            lines += [f"**`{name}`** {differs(getattr(layers, name))}", ""]
    return "\n".join(lines)


def old_names() -> str:
    """Return the page of External-Attention-tensorflow's names."""
    lines = [
        "# Coming from External-Attention",
        "",
        "Change the import alone: `from attention.SEAttention import SEAttention` becomes "
        "`from attn_core.compat import SEAttention`. The mathematics is the authors', not that "
        "collection's: where its layer computes something else, results change, and weights "
        "trained with it do not carry over.",
        "",
        *collection(),
        "",
        "## Names and arguments",
        "",
        "| Old name and arguments | Layer | Arguments there |",
        "|---|---|---|",
    ]
    for name, old in compat.TABLE.items():
        signature = inspect.signature(getattr(compat, name))
        required = [v.name for v in signature.parameters.values() if v.default is v.empty]
        small = dict.fromkeys(required, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            new = type(old.new) is type and old.new.__name__
            new = new or type(getattr(compat, name)(**small)).__name__
        renamed = ", ".join(f"`{a}`" if a == b else f"`{a}` is `{b}`" for a, b in old.names.items())
        checked = ", ".join(f"`{a}`" for a in (old.channels, *old.size) if a)
        unused = ", ".join(f"`{a}`" for a in old.unused)
        fixed = ", ".join(f"`{a}={b!r}`" for a, b in old.fixed.items())
        notes = [
            renamed,
            checked and f"checked against the input: {checked}",
            fixed and f"set: {fixed}",
            unused and f"no counterpart (warns): {unused}",
        ]
        lines.append(f"| `{name}{signature}` | `{new}` | {'; '.join(filter(None, notes))} |")
    return "\n".join(lines)


def collection() -> list[str]:
    """Return what the collection's layers compute, as lines of Markdown."""
    verdicts = [verdict for verdict, _ in DIFFERENCES.values()]
    return [
        "## What its layers compute",
        "",
        f"Of its {len(verdicts)} names {verdicts.count('yes')} compute what the authors' code "
        f"does, {verdicts.count('in part')} do in part. No layer loads from a `.keras` file, and "
        "most need a fixed batch size. [What differs](differences.md) has the PyTorch collection "
        "too, and where papers and released code part.",
        "",
        "| Old name | As the authors | What it does otherwise |",
        "|---|---|---|",
        *(f"| `{name}` | {same} | {how} |" for name, (same, how) in DIFFERENCES.items()),
    ]


def contributing() -> str:
    """Return CONTRIBUTING.md with its links as they are on the site."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.replace("](docs/", "](").replace("](CHANGELOG.md", "](changelog.md")


def parameters() -> str:
    """Return the table of the networks' parameters, ours beside the authors'."""
    expected = runpy.run_path(str(ROOT / "tests" / "networks.py"))["PARAMETERS"]
    lines = ["| Network | Variant | Trainable parameters | The authors' |", "|---|---|--:|--:|"]
    for name, variants in expected.items():
        for variant, theirs in variants.items():
            with keras.StatelessScope(initialize_variables=False):
                model = getattr(models, name).from_variant(variant)
            ours = sum(math.prod(weight.shape) for weight in model.trainable_weights)
            lines.append(f"| `{name}` | `{variant}` | {ours:,} | {theirs:,} |")
    keras.utils.clear_session()
    return "\n".join(lines)


def add(page: str, text: str) -> None:
    """Add text to a page of docs/."""
    with (TARGET / page).open("a") as file:
        file.write(f"\n{text}\n")


def main() -> None:
    """Write all pages."""
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(ROOT / "docs", TARGET)
    if mechanism_pages.MAPS.exists():
        pictures = shutil.ignore_patterns("*.json")
        shutil.copytree(mechanism_pages.MAPS, TARGET / "maps", ignore=pictures)
    (TARGET / "mechanisms").mkdir()
    for mechanism in catalog.MECHANISMS:
        page = mechanism_pages.page(mechanism)
        (TARGET / "mechanisms" / f"{mechanism.key}.md").write_text(page)
    (TARGET / "api.md").write_text(api())
    (TARGET / "differences.md").write_text(differences())
    (TARGET / "external-attention.md").write_text(old_names())
    (TARGET / "contributing.md").write_text(contributing())
    shutil.copy(ROOT / "CHANGELOG.md", TARGET / "changelog.md")
    add("choose.md", mechanism_pages.chooser())
    add("deploy.md", exported.table())
    add("models.md", f"## The variants\n\n{parameters()}")
    add("trust.md", f"### The libraries\n\n{licences.table()}")
    add("trust.md", f"## The bad input tested\n\n{bad_input_table.table()}")
    what = "Largest absolute error of outputs, gradients and outputs in training:"
    add("verification.md", f"## The errors seen\n\n{what}\n\n{verified.table()}")


if __name__ == "__main__":
    main()
