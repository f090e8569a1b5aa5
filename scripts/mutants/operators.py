"""What a fault is: operators of cosmic-ray, and some for layers that compute."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from cosmic_ray.operators import (
    binary_operator_replacement,
    boolean_replacer,
    break_continue,
    comparison_operator_replacement,
    number_replacer,
    unary_operator_replacement,
    zero_iteration_for_loop,
)
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Name, String
from parso.tree import Leaf, NodeOrLeaf

Positions = Iterator[tuple[tuple[int, int], tuple[int, int]]]


class Replace(Operator):
    """Replaces names or texts by others of the same kind."""

    pairs: ClassVar[dict[str, Sequence[str]]] = {}
    kind: ClassVar[type[Leaf]] = Name

    def others(self, node: NodeOrLeaf) -> Sequence[str]:
        """Return what may stand in place of a node."""
        if not isinstance(node, self.kind) or _is_defined(node):
            return ()
        return self.pairs.get(node.value, ())

    def mutation_positions(self, node: NodeOrLeaf) -> Positions:
        """Yield the place of the node once for each mutation."""
        for _ in self.others(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> NodeOrLeaf:
        """Return the changed node."""
        node.value = self.others(node)[index]
        return node

    @classmethod
    def examples(cls) -> Iterator[Example]:
        """Yield one example for each pair."""
        for before, (after, *_) in cls.pairs.items():
            yield Example(f"print({before})", f"print({after})")


class ReplaceReduction(Replace):
    """Another reduction, or another comparison of two tensors."""

    pairs: ClassVar = {
        "mean": ("sum", "max"),
        "sum": ("mean", "max"),
        "max": ("mean", "min"),
        "min": ("max",),
        "amax": ("mean",),
        "argmax": ("argmin",),
        "maximum": ("minimum",),
        "minimum": ("maximum",),
        "any": ("all",),
        "all": ("any",),
        "logical_or": ("logical_and",),
        "logical_and": ("logical_or",),
        "average_pool": ("max_pool",),
        "max_pool": ("average_pool",),
    }


class ReplaceFunction(Replace):
    """Another activation or another elementwise function."""

    pairs: ClassVar = {
        "relu": ("gelu", "relu6"),
        "gelu": ("relu",),
        "silu": ("relu",),
        "sigmoid": ("tanh", "hard_sigmoid"),
        "tanh": ("sigmoid",),
        "softmax": ("sigmoid", "log_softmax"),
        "exp": ("expm1",),
        "sqrt": ("square",),
        "rsqrt": ("sqrt",),
        "square": ("abs",),
        "floor": ("ceil",),
        "ceil": ("floor",),
        "round": ("floor",),
        "zeros": ("ones",),
        "ones": ("zeros",),
        "zeros_like": ("ones_like",),
        "ones_like": ("zeros_like",),
    }


class ReplaceText(Replace):
    """Another activation, padding or interpolation, where it is named by a text."""

    kind = String
    pairs: ClassVar = {
        '"relu"': ('"gelu"', "None"),
        '"silu"': ('"relu"',),
        '"gelu"': ('"relu"',),
        '"sigmoid"': ('"tanh"', "None"),
        '"softmax"': ('"sigmoid"',),
        '"same"': ('"valid"',),
        '"valid"': ('"same"',),
        '"bilinear"': ('"nearest"',),
        '"bicubic"': ('"bilinear"',),
        '"zeros"': ('"ones"',),
        '"ones"': ('"zeros"',),
    }


class ForgetUpcast(Operator):
    """Computes in half precision what a statement computes in float32: forgets all its upcasts."""

    plain: ClassVar = {
        "mean": "__import__('keras').ops.mean",
        "softmax": "__import__('keras').ops.softmax",
    }

    def mutation_positions(self, node: NodeOrLeaf) -> Positions:
        """Yield the first `upcast(x)` of a statement, or function that does the same inside."""
        if node.type in ("expr_stmt", "return_stmt"):
            for name in self._upcasts(node)[:1]:
                yield name.start_pos, name.end_pos

    def mutate(self, node: Any, index: int) -> NodeOrLeaf:
        """Return the statement with the arguments alone, or with Keras' own functions of them."""
        for name in self._upcasts(node):
            name.value = self.plain.get(name.value, "")
        return node

    def _upcasts(self, node: NodeOrLeaf) -> list[Name]:
        """Return the names of the functions called within a node that compute in float32."""
        found = []
        for child in getattr(node, "children", ()):
            if child.type == "atom_expr" and child.children[1].get_code().startswith("("):
                name = child.children[0]
                if isinstance(name, Name) and (name.value == "upcast" or name.value in self.plain):
                    found.append(name)
            found += self._upcasts(child)
        return found

    @classmethod
    def examples(cls) -> Iterator[Example]:
        """Yield one example of each kind, and one of two upcasts at once."""
        yield Example("y = upcast(x)", "y = (x)")
        yield Example("y = mean(x, 1)", "y = __import__('keras').ops.mean(x, 1)")
        yield Example("y = upcast(x) * upcast(z)", "y = (x) * (z)")


class ReplaceFlag(Operator):
    """Passes the opposite of a flag, or no `training`."""

    def mutation_positions(self, node: NodeOrLeaf) -> Positions:
        """Yield the places of `training=training` and `use_bias=self.use_bias`."""
        if node.type == "argument" and len(node.children) == 3 and _flag(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> NodeOrLeaf:
        """Return the changed argument."""
        value = node.children[2]
        node.children[2] = Name(_flag(node), value.start_pos)
        return node

    @classmethod
    def examples(cls) -> Iterator[Example]:
        """Yield one example of each kind."""
        yield Example("f(x, training=training)", "f(x, training=False)")
        yield Example("f(x, use_bias=self.use_bias)", "f(x, use_bias=not self.use_bias)")


def _flag(argument: Any) -> str:
    value = argument.children[2].get_code().strip()
    if value == "training":
        return "False"
    return f"not {value}" if value.startswith(("self.use_", "use_")) else ""


def _is_defined(node: Leaf) -> bool:
    """Whether a name is a parameter, a keyword, an import or the target of an assignment.

    In `ops.mean(x)`, `mean(x)` and `map(mean, x)` it is none of these.
    """
    before, after = node.get_previous_leaf(), node.get_next_leaf()
    if after is not None and after.value in ("=", ":", ","):
        return node.parent.type != "arglist" if after.value == "," else node.parent.type != "test"
    return node.parent.type.startswith("import") or (
        before is not None and before.value in ("def", "for", "import", "as")
    )


def operators() -> list[Operator]:
    """Return every operator; of the many replacements, two for each arithmetic or comparison."""
    arithmetic = {
        "Add": ("Sub", "Mul"),
        "Sub": ("Add", "Mul"),
        "Mul": ("Add", "Div"),
        "Div": ("Mul", "FloorDiv"),
        "FloorDiv": ("Mul", "Mod"),
        "Mod": ("FloorDiv", "Mul"),
        "Pow": ("Mul", "Div"),
    }
    comparisons = {
        "Eq": ("NotEq", "GtE"),
        "NotEq": ("Eq", "Gt"),
        "Lt": ("LtE", "GtE"),
        "LtE": ("Lt", "Gt"),
        "Gt": ("GtE", "Lt"),
        "GtE": ("Gt", "Lt"),
        "Is": ("IsNot",),
        "IsNot": ("Is",),
    }
    kinds = [
        *_replacements(binary_operator_replacement, "ReplaceBinaryOperator", arithmetic),
        *_replacements(comparison_operator_replacement, "ReplaceComparisonOperator", comparisons),
        unary_operator_replacement.ReplaceUnaryOperator_Delete_Not,
        unary_operator_replacement.ReplaceUnaryOperator_USub_UAdd,
        boolean_replacer.ReplaceTrueWithFalse,
        boolean_replacer.ReplaceFalseWithTrue,
        boolean_replacer.ReplaceAndWithOr,
        boolean_replacer.ReplaceOrWithAnd,
        boolean_replacer.AddNot,
        break_continue.ReplaceBreakWithContinue,
        break_continue.ReplaceContinueWithBreak,
        number_replacer.NumberReplacer,
        zero_iteration_for_loop.ZeroIterationForLoop,
        ReplaceReduction,
        ReplaceFunction,
        ReplaceText,
        ForgetUpcast,
        ReplaceFlag,
    ]
    return [kind() for kind in kinds]


def _replacements(module: Any, kind: str, pairs: dict[str, Sequence[str]]) -> list[type[Operator]]:
    names = [f"{kind}_{before}_{after}" for before, afters in pairs.items() for after in afters]
    return [getattr(module, name) for name in names]
