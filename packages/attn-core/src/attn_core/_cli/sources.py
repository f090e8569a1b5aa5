"""What the source of a layer says, read without importing Keras, which takes seconds."""

import ast
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from pathlib import Path

from attn_core.catalog import LAYERS, Mechanism
from attn_core.catalog._docstrings import split

FOLDER = Path(__file__).parents[1] / "layers"


@dataclass(frozen=True)
class Source:
    """A layer as its source describes it.

    Attributes:
        signature: Its constructor's arguments with their defaults.
        sections: The sections of its docstring, by title.
    """

    signature: str
    sections: dict[str, str]


@cache
def read(name: str) -> Source:
    """Return what the source of a layer says."""
    for path in sorted((FOLDER / LAYERS[name].family).glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if f"class {name}(" in text:
            classes = (one for one in ast.parse(text).body if isinstance(one, ast.ClassDef))
            (node,) = (one for one in classes if one.name == name)
            return Source(_signature(node), split(cleandoc(ast.get_docstring(node) or "")))
    raise LookupError(f"no file of {LAYERS[name].family} has the class {name}")


def kinds(mechanism: Mechanism) -> list[str]:
    """Return the kinds of input that the principal layer of a mechanism takes."""
    text = read(mechanism.principal).sections["Call arguments"]
    return [*mechanism.input.split(" or "), *(["signal", "volume"] if "Signals, " in text else [])]


def _signature(node: ast.ClassDef) -> str:
    """Return the arguments of `__init__`, or those of all layers where the class has none."""
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            arguments = one.args
            arguments.args = arguments.args[1:]
            every = [*arguments.args, *arguments.kwonlyargs, arguments.kwarg]
            for argument in filter(None, every):
                argument.annotation = None
            return f"({ast.unparse(arguments)})"
    return "(**kwargs)"
