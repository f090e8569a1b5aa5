"""A layer's signatures, with tables of its arguments: from its annotations and its docstring."""

import inspect
import re
from collections.abc import Callable

from attn_core import _typing
from attn_core.catalog._docstrings import sections

from scripts.tables.markdown import table

WIDTH = 76
"""Longest line of a signature, which shows on a screen without scrolling."""
ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*):[ \n]", re.MULTILINE)


def reference(cls: type) -> str:
    """Return the signatures of a layer, its arguments, its result and its errors, in Markdown."""
    texts = sections(cls)
    build, call = _parameters(cls.__init__), _parameters(cls.call)
    parts = [
        code(cls.__name__, build),
        arguments(texts["Args"], build),
        "The built layer is called with:",
        code("layer", call),
        arguments(texts["Call arguments"], call),
        f"**Returns**: {texts['Returns']}",
    ]
    errors = [" ".join(text.split()) for text in re.split(r"\n(?=\w)", texts.get("Raises", ""))]
    parts += [f"**Raises** `{name}`:{text}" for name, _, text in map(_parted, filter(None, errors))]
    return "\n\n".join(parts)


def _parted(error: str) -> tuple[str, str, str]:
    return error.partition(":")


def _parameters(function: Callable) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())[1:]  # without self


def code(name: str, parameters: list[inspect.Parameter]) -> str:
    """Return a signature without annotations, as a block of code."""
    bare = [one.replace(annotation=one.empty) for one in parameters]
    text = f"{name}{inspect.Signature(bare)}"
    if len(text) > WIDTH:
        inside = str(inspect.Signature(bare))[1:-1]
        lines = re.split(r", (?=[\w*]+(?:=|,|$))", inside)
        text = f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + ")"
    return f"```python\n{text}\n```"


def arguments(text: str, parameters: list[inspect.Parameter]) -> str:
    """Return the table of the arguments that a section of a docstring describes."""
    known = {one.name: one for one in parameters}
    pieces = ENTRY.split(text)
    rows = []
    for names, meaning in zip(pieces[1::2], pieces[2::2], strict=True):
        given = [known[name.strip("* ")] for name in names.split(",")]
        shown = ", ".join(f"`{name.strip()}`" for name in names.split(","))
        rows.append([shown, " ".join(meaning.split()), annotation(given[0]), default(given[0])])
    return table(["Argument", "Meaning", "Type", "Default"], rows)


def annotation(parameter: inspect.Parameter) -> str:
    """Return the type of an argument, as it is read; an option of two types as both."""
    if parameter.kind is parameter.VAR_KEYWORD:
        return ""
    if parameter.annotation is _typing.Tensor:
        return "`tensor`" if parameter.default is parameter.empty else "`tensor` or `None`"
    kind = parameter.annotation
    text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    text = text.replace("collections.abc.", "").replace("typing.", "").replace("Any", "tensor")
    return " or ".join(f"`{one}`" for one in text.split(" | "))


def default(parameter: inspect.Parameter) -> str:
    """Return the default of an argument, as code."""
    if parameter.kind is parameter.VAR_KEYWORD:
        return ""
    return "required" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
