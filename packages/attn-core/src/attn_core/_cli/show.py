"""`attn list` and `attn show`: what the records and the docstrings say, without Keras."""

import inspect
import re
from textwrap import indent

from rich.console import Console
from rich.table import Table

from attn_core._cli.formulas import readable
from attn_core._cli.sources import Source, kinds, read
from attn_core.catalog import EXAMPLE, FAMILIES, LAYERS, Mechanism, layer_name

POWERS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def print_list(mechanisms: list[Mechanism]) -> None:
    """Print a table, or into a pipe lines of key, name, input, family, year and layers by tabs."""
    console = Console()
    rows = [
        (m.key, m.name, ", ".join(kinds(m)), m.family, str(m.year), ", ".join(m.layers))
        for m in mechanisms
    ]
    if not console.is_terminal:
        print(*map("\t".join, rows), sep="\n")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("key", "name", "input", "family", "year", "layers"):
        no_wrap = heading in ("key", "year", "layers")
        table.add_column(heading, no_wrap=no_wrap, overflow="fold")
    for row, mechanism in zip(rows, mechanisms, strict=True):
        table.add_row(*row[:-1], "\n".join(mechanism.layers))  # a name is never broken
    console.print(table, highlight=False, markup=False)


def print_mechanism(mechanism: Mechanism, name: str) -> None:
    """Print what is known of a mechanism, and of its layer `name`, or of its principal layer."""
    name = layer_name(name)
    layer = read(name)
    texts = {title: readable(text) for title, text in layer.sections.items()}
    console = Console(highlight=False, markup=False, soft_wrap=True)

    def write(heading: str, text: str) -> None:
        console.print(heading, style="bold")
        console.print(indent(inspect.cleandoc(text), "    "), end="\n\n")

    others = [one for one in mechanism.layers if one != name]
    write(f"{mechanism.name} ({mechanism.key})", f"{mechanism.summary}\n\n{_facts(mechanism)}")
    write(name + layer.signature, texts[""])
    if others:
        write("Further layers", ", ".join(f"{one} (attn show {one})" for one in others))
    for heading in ("Args", "Call arguments", "Returns"):
        write(heading, texts[heading])
    write("Cost", _cost(mechanism))
    write("Where it goes", _where(name))
    write("Example", f"from attn_core import {name}\n" + _example(texts["Example"]))
    write("Differs from the paper", _differences(layer))


def _facts(mechanism: Mechanism) -> str:
    facts = {
        "paper": mechanism.title or "none",
        "authors": mechanism.authors,
        "published": mechanism.published,
        "address": mechanism.paper_url,
        "reference": mechanism.reference_url or mechanism.reference,
        "input": ", ".join(kinds(mechanism)),
        "family": mechanism.family,
        "also called": ", ".join(mechanism.other_names),
    }
    return "\n".join(f"{name + ':':<13}{fact}" for name, fact in facts.items() if fact)


def _example(text: str) -> str:
    """Return a doctest as code, what it prints as comments."""
    lines = inspect.cleandoc(text).splitlines()
    return "\n".join(
        line[4:] if line.startswith((">>> ", "... ")) else f"# {line}" for line in lines
    )


def _differences(layer: Source) -> str:
    found = (text for title, text in layer.sections.items() if title.startswith("Differs from"))
    return readable(next(found))


def _where(name: str) -> str:
    record = LAYERS[name]
    place = FAMILIES[record.family].place
    if record.family in ("blocks", "heads"):
        return place
    config = "".join(f", {key}={value}" for key, value in record.required(EXAMPLE).items())
    between = "" if len(record.cases[0].shape) == 3 else ", with the reshapes that it needs"
    call = f'attn_core.insert_attention(model, "{name}", "residual_branch"{config})'
    return f"{place}\nInto an existing model{between}:\n\n    model = {call}"


def _cost(mechanism: Mechanism) -> str:
    """Return the formulas of the costs of the principal layer, with their values."""
    name, record = mechanism.principal, LAYERS[mechanism.principal]
    config = ", ".join(f"{key}={value}" for key, value in record.arguments(EXAMPLE).items())
    image = len(record.cases[0].shape) == 3
    sides = (EXAMPLE.height, EXAMPLE.width) if image else (EXAMPLE.positions,)
    shape = " x ".join(map(str, (*sides, EXAMPLE.channels)))
    letters = {"C": "channels", "H": "height", "W": "width", "N": "positions or tokens"}
    letters |= {letter: what for letter, (what, _) in mechanism.symbols.items()}
    used = [
        f"{letter} = {mechanism.evaluate(letter):.0f} ({what})"
        for letter, what in letters.items()
        if re.search(rf"\b{letter}\b", f"{mechanism.parameters} {mechanism.multiply_adds}")
    ]
    lines = [f"{name}({config}) on one sample, {shape}:"]
    for what, formula in (
        ("trainable parameters", mechanism.parameters),
        ("multiply-adds", mechanism.multiply_adds),
    ):
        value = f"{round(mechanism.evaluate(formula)):,}"
        shown = "" if formula.isdecimal() else f" = {_unicode(formula)}"
        lines.append(f"    {what:<20} {value:>13}{shown}")
    lines += [f"with {', '.join(used)}"] if used else []
    lines.append(f"Time and memory are measured by: attn compare --attention {mechanism.key}")
    return "\n".join(lines)


def _unicode(formula: str) -> str:
    """Return a Python expression as one writes it."""
    formula = re.sub(r"\*\*(\d+)", lambda found: found[1].translate(POWERS), formula)
    return formula.replace(" * ", " ").replace("log2", "log₂").replace("**", "^")
