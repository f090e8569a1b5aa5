"""The formulas of costs of all mechanisms as JSON: what the charts and the cost sliders read.

A formula is a tree, made from the Python expression of the record: a number, a name, or a list of
an operator and its operands, such as `["*", 2, "C"]`. docs/assets/costs.js computes it.
"""

import ast
import json
from pathlib import Path
from typing import TypeAlias

from attn_core.catalog import EXAMPLE, FAMILIES, MECHANISMS, Mechanism
from attn_core.catalog._record import FUNCTIONS

from scripts.site.recorded_results import BACKENDS

LATENCY = Path(__file__).parents[2] / "docs" / "data" / "latency.json"
"""What `nox -s latency` measured; there are no measured times on the site without it."""

Tree: TypeAlias = "float | str | list[Tree]"

OPERATORS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.USub: "-",
    ast.Eq: "==",
    ast.Gt: ">",
    ast.GtE: ">=",
}
SIDES = {"C": "the channels", "H": "the height", "W": "the width"}
COMPARED = {">=": "at least", ">": "more than", "==": "equal to"}


def tree(expression: str) -> Tree:
    """Return a Python expression of a record as a tree.

    Raises:
        ValueError: If it holds something that the trees have no word for.
    """
    return _tree(ast.parse(expression, mode="eval").body, expression)


def _tree(node: ast.expr, whole: str) -> Tree:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return name
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return [OPERATORS[type(op)], _tree(left, whole), _tree(right, whole)]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return ["-", _tree(operand, whole)]
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in OPERATORS:
            return [OPERATORS[type(op)], _tree(left, whole), _tree(right, whole)]
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in FUNCTIONS:
            return [name, *(_tree(one, whole) for one in arguments)]
    raise ValueError(
        f"a formula of costs has numbers, names, operators and {', '.join(FUNCTIONS)}. "
        f"Received: {ast.unparse(node)} in {whole}"
    )


def sentence(mechanism: Mechanism, need: str) -> str:
    """Return what a condition asks for; `{name}` stands for the value of a name.

    Raises:
        ValueError: If there are no words for a condition of this kind.
    """
    names = SIDES | {name: name for name in mechanism.options}
    names |= {letter: words for letter, (words, _) in mechanism.symbols.items()}

    def said(part: Tree) -> str:
        match part:
            case ["min", "H", "W"]:
                return "the shorter side ({H} x {W})"
            case ["//", one, 2]:
                return f"half of {said(one)}"
            case ["*", factor, one]:
                return f"{said(factor)} x {said(one)}"
            case str():
                return f"{names[part]} ({{{part}}})"
            case int():
                return str(part)
        raise ValueError(f"there are no words for {part} in {need} of {mechanism.key}")

    match tree(need):
        case ["==", ["%", left, 2], 0 | 1 as rest]:
            text = f"{said(left)} must be {'odd' if rest else 'even'}"
        case ["==", ["%", left, right], 0]:
            text = f"{said(left)} must be divisible by {said(right)}"
        case ["==", ["**", ["isqrt", root], 2], other] if root == other:
            text = f"{said(root)} must be the square of a whole number"
        case [operator, left, right] if operator in COMPARED:
            text = f"{said(left)} must be {COMPARED[operator]} {said(right)}"
        case other:
            raise ValueError(f"there are no words for {other} of {mechanism.key}")
    return f"{text}."


def described(mechanism: Mechanism) -> dict[str, object]:
    """Return what the charts and sliders need to know of a mechanism."""
    record = mechanism.layers[mechanism.principal]
    return {
        "key": mechanism.key,
        "name": mechanism.name,
        "layer": mechanism.principal,
        "family": mechanism.family,
        "options": mechanism.options,
        "zero": [name for name in mechanism.options if name in record.zero],
        "letters": [[letter, tree(text)] for letter, (_, text) in mechanism.symbols.items()],
        "needs": [[tree(need), sentence(mechanism, need)] for need in mechanism.needs],
        "parameters": tree(mechanism.parameters),
        "multiplyAdds": tree(mechanism.multiply_adds),
        "maps": tree(mechanism.maps),
    }


def latency() -> dict[str, object] | None:
    """Return the measured times, `None` where nobody has measured."""
    return json.loads(LATENCY.read_text()) if LATENCY.exists() else None


def write(path: Path) -> None:
    """Write the file that the charts and the sliders read."""
    content = {
        "example": {"H": EXAMPLE.height, "W": EXAMPLE.width, "C": EXAMPLE.channels},
        "families": [[family.key, family.title] for family in FAMILIES.values()],
        "mechanisms": [described(mechanism) for mechanism in MECHANISMS],
        "latency": latency(),
        "backends": BACKENDS,
    }
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")))
