"""Which faults are planted: a draw with a seed among all places of the source."""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from parso.tree import Leaf, NodeOrLeaf

from scripts.mutants.operators import operators

ROOMS = ("layers", "_ops", "_weights", "_tools")
"""The folders of attn_core in which faults are planted."""

WITHOUT_NUMBERS = {
    *("fontsize", "labelsize", "linewidth", "alpha", "aspect", "pad", "dpi", "wspace", "hspace"),
    *("bbox_to_anchor", "cmap", "frameon"),
    *("optimize", "copy", "strict"),
}
"""Keyword arguments that change how a picture looks, or how Python and NumPy work: no result."""

Place = tuple[int, int]
"""Line, from one, and column of a character."""


@dataclass(frozen=True)
class Mutant:
    """A module with one fault.

    Attributes:
        module: Path of the module, relative to the folder that holds attn_core.
        line: Number of the line.
        operator: Name of the operator.
        before: The line, or lines, as they are.
        after: The same with the fault.
        source: The whole module with the fault.
    """

    module: str
    line: int
    operator: str
    before: str
    after: str
    source: str

    @property
    def change(self) -> str:
        """What was changed, as text."""
        return f"{self.before} -> {self.after}"


def draw(root: Path, count: int, seed: int, only: str = "", kind: str = "") -> list[Mutant]:
    """Return `count` mutants of the modules below `root`, at most one at each place.

    With `only`, of the modules whose path has that text; with `kind`, of the operators whose name
    has that text.
    """
    rng = random.Random(seed)
    candidates = [
        (path, source, place, options)
        for path, source in _modules(root)
        if only in path.as_posix()
        for place, options in sorted(_places(source, kind).items())
    ]
    rng.shuffle(candidates)
    mutants: list[Mutant] = []
    for path, source, _, options in candidates:
        if len(mutants) == count:
            break
        for operator, occurrence in rng.sample(options, len(options)):
            changed = mutate_code(source, operator, occurrence)
            if changed is not None and _differs(source, changed):
                name = type(operator).__name__
                line, before, after = _difference(source, changed)
                module = path.relative_to(root).as_posix()
                mutants.append(Mutant(module, line, name, before, after, changed))
                break
    return mutants


def _modules(root: Path) -> Iterator[tuple[Path, str]]:
    for room in ROOMS:
        for path in sorted((root / "attn_core" / room).rglob("*.py")):
            if path.stem not in ("kernels_jax", "kernels_tensorflow"):  # the tests run on PyTorch
                yield path, path.read_text(encoding="utf-8")


def _places(source: str, kind: str = "") -> dict[Place, list]:
    """Return the operators, with their occurrence in the module, by place in the source."""
    nodes = list(ast_nodes(get_ast(source)))
    left_out = _left_out(source)
    places: dict[Place, list] = {}
    for operator in operators():
        if kind not in type(operator).__name__:
            continue
        occurrence = 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                hidden = any(first <= start < last for first, last in left_out)
                if not hidden and not _is_bare_star(node):
                    places.setdefault(start, []).append((operator, occurrence))
                occurrence += 1
    return places


def _is_bare_star(node: NodeOrLeaf) -> bool:
    """Whether a node is the star of a signature after which arguments are passed by name."""
    return isinstance(node, Leaf) and node.value == "*" and node.get_next_leaf().value == ","


def _left_out(source: str) -> list[tuple[Place, Place]]:
    """Return the spans whose changes no test should notice.

    Annotations, texts, decorators, the arguments of WITHOUT_NUMBERS, defaults that a function never
    reads, and what runs on other backends alone.
    """
    lines = source.splitlines()

    def span(node: ast.expr | ast.stmt) -> tuple[Place, Place]:
        def place(line: int, byte: int) -> Place:
            return line, len(lines[line - 1].encode()[:byte].decode())

        return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)

    spans = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Raise() | ast.JoinedStr() | ast.Expr(value=ast.Constant()):
                spans.append(span(node))
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                spans.append(span(node))
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                spans.append(span(node))
            case ast.keyword(arg=str(name)) if name in WITHOUT_NUMBERS:
                spans.append(span(node.value))
            case ast.FunctionDef(name="_jax" | "_tensorflow"):
                spans += map(span, node.body)
            case ast.FunctionDef():
                spans += map(span, _unread_defaults(node))
            case ast.BoolOp(op=ast.And(), values=[first, *others]) if _asks_for_another(first):
                spans += map(span, others)
            case ast.If(test=test) if _asks_for_another(test):
                spans += map(span, node.body)
        notes = [getattr(node, name, None) for name in ("annotation", "returns")]
        spans += [span(note) for note in notes if note is not None]
        spans += [span(decorator) for decorator in getattr(node, "decorator_list", ())]
    return spans


def _asks_for_another(test: ast.expr) -> bool:
    """Whether a condition is false on PyTorch, as it asks for another backend."""
    match test:
        case ast.BoolOp(op=ast.And(), values=[first, *_]):
            return _asks_for_another(first)
        case ast.Call(func=ast.Name(id="jax_on_cpu")):
            return True
        case ast.Compare(ops=[ast.Eq()], comparators=[ast.Constant(value="jax" | "tensorflow")]):
            return True
    return False


def _unread_defaults(function: ast.FunctionDef) -> list[ast.expr]:
    """Return the defaults of the arguments that the body does not read, as of an interface."""
    read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [
        *zip(reversed(positional), reversed(arguments.defaults), strict=False),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return [default for argument, default in pairs if default and argument.arg not in read]


def _differs(source: str, changed: str) -> bool:
    try:
        return ast.dump(ast.parse(source)) != ast.dump(ast.parse(changed))
    except SyntaxError:
        return False


def _difference(source: str, changed: str) -> tuple[int, str, str]:
    pairs = zip(source.splitlines(), changed.splitlines(), strict=False)
    for number, (before, after) in enumerate(pairs, start=1):
        if before != after:
            return number, before.strip(), after.strip()
    raise ValueError("The two sources are the same.")
