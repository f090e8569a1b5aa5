"""What the catalog and the docstrings say about mechanisms: `attn list`, `attn show`."""

import inspect
import re
from textwrap import indent

from rich.console import Console
from rich.table import Table

from attn_core.catalog import Mechanism

WHERE = {
    "gates": "Behind a convolution and its norm, or at the end of a residual branch, before the "
    "sum. The shape stays.",
    "branches": "In place of the k x k convolution of a residual block, whose kernels it holds.",
    "tokens": "On tokens, (B, N, C): in place of the attention of a transformer's block, or over "
    "the positions of a small image.",
    "maps": "Late in a network, where the image is small, behind a block: most of these compare "
    "all positions, or all channels, with each other.",
    "windows": "In place of the k x k convolution of a residual block, or of the attention of a "
    "transformer on images.",
    "mixers": "In place of the attention of a transformer's block on images, between norm and sum.",
    "blocks": "As a block of its own, behind a down-sampling, where the image is small.",
    "heads": "At the end of a network, in place of global pooling and classifier.",
}
"""By family: where in a network the mechanism belongs."""

REQUIRED = {
    "num_classes": 10,
    "max_length": 1024,
    "window_size": 32,
    "num_heads": 8,
    "kernel_size": 3,
    "filters": 128,
}
"""What stands for arguments that have no default."""

IMAGES = (1, 16, 16, 128), (1, 32, 32, 128)
TOKENS = (1, 256, 128), (1, 1024, 128)


def print_list(mechanisms: list[Mechanism]) -> None:
    """Print a table, or into a pipe lines of key, name, input, family, year and layers by tabs."""
    console = Console()
    rows = [(m.key, m.name, m.kind, m.family, str(m.year), ", ".join(m.layers)) for m in mechanisms]
    if not console.is_terminal:
        print(*map("\t".join, rows), sep="\n")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("key", "name", "input", "family", "year", "layers"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False, markup=False)


def print_mechanism(mechanism: Mechanism, name: str) -> None:
    """Print all there is to say about a mechanism, and the layer of that `name`, or the first."""
    from attn_core import layers

    chosen = [one for one in mechanism.layers if one.casefold() == name.casefold()]
    name = (chosen or mechanism.layers)[0]
    layer = getattr(layers, name)
    introduction, sections = _sections(inspect.getdoc(layer))
    console = Console(highlight=False, markup=False, soft_wrap=True)

    def write(heading: str, text: str) -> None:
        console.print(heading, style="bold")
        console.print(indent(inspect.cleandoc(text), "    "), end="\n\n")

    others = [one for one in mechanism.layers if one != name]
    write(f"{mechanism.name} ({mechanism.key})", f"{mechanism.summary}\n\n{_facts(mechanism)}")
    write(name + _signature(layer), introduction)
    if others:
        write("Further layers", ", ".join(f"{one} (attn show {one})" for one in others))
    for heading in ("Args", "Call arguments", "Returns"):
        write(heading, sections[heading])
    write("Cost", _cost(layer))
    write("Where it goes", _where(layer))
    write("Example", f"from attn_core import {name}\n" + _example(sections["Example"]))
    write("Differs from the paper", _differences(sections))


def _facts(mechanism: Mechanism) -> str:
    paper = f"{mechanism.authors}: {mechanism.title}, {mechanism.year}, {mechanism.paper_url}"
    facts = {
        "paper": paper if mechanism.title else f"none; {mechanism.year}",
        "reference": mechanism.reference_url or mechanism.reference,
        "input": mechanism.kind,
        "family": mechanism.family,
        "also called": ", ".join(mechanism.aliases),
    }
    return "\n".join(f"{name + ':':<13}{fact}" for name, fact in facts.items() if fact)


def _sections(documentation: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into what precedes its sections, and these by heading."""
    introduction, *parts = re.split(r"^(\w[\w -]*):\n(?= )", documentation, flags=re.MULTILINE)
    return introduction, dict(zip(parts[::2], parts[1::2], strict=True))


def _differences(sections: dict[str, str]) -> str:
    return next(text for name, text in sections.items() if name.startswith("Differs from the "))


def _signature(layer) -> str:
    parameters = inspect.signature(layer).parameters.values()
    plain = [parameter.replace(annotation=parameter.empty) for parameter in parameters]
    return str(inspect.Signature(plain))


def _example(text: str) -> str:
    """Return a doctest as code, what it prints as comments."""
    lines = inspect.cleandoc(text).splitlines()
    return "\n".join(
        line[4:] if line.startswith((">>> ", "... ")) else f"# {line}" for line in lines
    )


def _where(layer) -> str:
    from attn_core.layers.base import ImageLayer

    family = layer.__module__.split(".")[2]
    if family in ("blocks", "heads"):
        return WHERE[family]
    config = "".join(f", {name}={value}" for name, value in _required(layer).items())
    between = "" if issubclass(layer, ImageLayer) else ", with the reshapes that it needs"
    call = f'attn_core.insert_attention(model, "{layer.__name__}", "residual_branch"{config})'
    return f"{WHERE[family]}\nInto a model that exists{between}:\n\n    model = {call}"


def _required(layer) -> dict:
    """Return the arguments without which no layer is made."""
    parameters = inspect.signature(layer).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    return {name: REQUIRED[name] for name in needed}


def _cost(layer) -> str:
    """Return parameters and multiply-adds of a layer at two sizes."""
    from attn_core.layers.base import ImageLayer
    from attn_core.tools.profiling import profile, short

    config, image = _required(layer), issubclass(layer, ImageLayer)
    options = {**config, "data_format": "channels_last"} if image else config
    lines = ["With " + ", ".join(f"{k}={v}" for k, v in config.items()) + ":"] if config else []
    for shape in IMAGES if image else TOKENS:
        cost = profile(layer(**options), shape, modes=())
        parameters = cost.trainable_parameters + cost.other_parameters
        size = " x ".join(map(str, shape[1:]))
        lines.append(
            f"{size:<13} {parameters:>9,} parameters {short(cost.total_multiply_adds):>8} "
            f"multiply-adds {cost.peak_bytes / 2**20:>6.1f} MB of activations at most"
        )
    return "\n".join(lines)
