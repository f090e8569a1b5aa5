"""What is known about a mechanism: its facts are written here only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, isqrt, log2
from typing import Any, Literal

GITHUB = "https://github.com/"

COLLECTIONS = frozenset(
    ("huggingface", "lucidrains", "moskomule", "pytorch", "qubvel", "xmu-xiaoma666")
)
"""Owners of repositories that hold other people's mechanisms."""

Evidence = Literal["authors", "port", "equations"]
"""How reference vectors are made: with the authors' code, code by others, or the equations."""

Arguments = Mapping[str, Any]
"""Constructor arguments of a layer, by name."""

Input = Literal["image", "token", "image or token"]
Task = Literal["classification", "dense prediction", "mobile", "sequences"]
Drawing = Literal["image", "bars", "stack", "matrix"]


@dataclass(frozen=True)
class Size:
    """The size of an example's input; tokens are the positions of an image of that size."""

    height: int
    width: int
    channels: int

    @property
    def positions(self) -> int:
        """Number of positions, or tokens."""
        return self.height * self.width

    def divisor(self, limit: int) -> int:
        """Return the largest number, up to `limit`, that divides height and width."""
        both = gcd(self.height, self.width)
        return max(number for number in range(1, limit + 1) if both % number == 0)


GLOROT = "glorot uniform"
"""The initial values of most kernels: Glorot's uniform distribution."""


IDENTITY = "identity"
"""The initial values of a k x k kernel that shifts k * k inputs, each to its place, and adds them."""


def normal(deviation: float) -> str:
    """Return the initial values of weights from a normal distribution, truncated or not."""
    return f"normal {deviation:g}"


EXAMPLE = Size(height=14, width=14, channels=256)
"""The input at which costs are given, one sample."""


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "isqrt": isqrt,
    "log2": log2,
    "max": max,
    "min": min,
}
"""The functions that formulas of costs may use."""


def nothing(size: Size) -> Arguments:
    """Return no arguments: every argument of the layer has a default."""
    return {}


@dataclass(frozen=True)
class Case:
    """A layer as the generic tests build it.

    Attributes:
        shape: Shape of one sample of the input, channels last.
        config: Constructor arguments.
        other: Another (height, width), or (tokens,), that the built layer takes too; `None` where
            its weights depend on the size.
        drawn: How its maps are drawn, if not as in the layer's other cases.
    """

    shape: tuple[int, ...]
    config: Arguments
    other: tuple[int, ...] | None
    drawn: tuple[Drawing, ...] = ()


def image(
    channels: int,
    /,
    *,
    size: tuple[int, int] = (6, 5),
    other: tuple[int, int] = (4, 7),
    drawn: tuple[Drawing, ...] = (),
    **config: Any,
) -> Case:
    """Return a case of a layer on images of any size."""
    return Case((*size, channels), config, other, drawn)


def fixed_image(channels: int, /, *, size: tuple[int, int] = (4, 6), **config: Any) -> Case:
    """Return a case of a layer that is built for one size of image."""
    return Case((*size, channels), config, None)


def tokens(channels: int, /, *, count: int = 9, other: int = 5, **config: Any) -> Case:
    """Return a case of a layer on tokens."""
    return Case((count, channels), config, (other,))


@dataclass(frozen=True)
class LayerRecord:
    """What documentation, commands and tests need to know of one layer.

    Attributes:
        cases: Configurations that every generic test runs, the plainest first.
        legal: By argument, values of which the random tests take every combination; `None` where a
            layer does not take images of all sizes, and has a random test of its own.
        required: The arguments without a default, for an input of a given size.
        example: Further arguments of the page's worked example, where the defaults do not serve.
        zero: Integer arguments that may be 0, in addition to those whose default is 0.
        one_position: Whether it takes an image of one position, or a single token.
        large: Standard deviation of the inputs at which half precision must stay finite: smaller
            for a layer whose numbers grow with the square of its input.
        permutable: Configurations with which the order of the positions has no effect: if the
            positions of the input are permuted, those of the output are permuted in the same way.
        no_gradient: Endings of the paths of weights that may have no gradient: they add the same
            number to all scores of a softmax, or to all inputs of an instance norm.
        drawn: How `visualize` draws each of its maps.
        starts: The initial values of weights that are not initialised as usual, by the end of their
            path: a constant, `normal(standard deviation)`, `GLOROT` or `IDENTITY`. Usual is
            `GLOROT` for a `kernel`, 1 for `gamma` and `moving_variance`, and 0 for `beta`, `bias`
            and `moving_mean`.
        orders: The order of the axes of a weight that is not a child's, and the order of the parts
            of a weight that combines several, by the name of the weight or of the child.
        family: The folder of `attn_core.layers` that holds it, where that is not the mechanism's.
        aliases: Other names of this layer alone; those of the mechanism mean its principal layer.
    """

    cases: tuple[Case, ...]
    legal: Mapping[str, Sequence[Any]] | None = field(default_factory=dict)
    required: Callable[[Size], Arguments] = nothing
    example: Arguments = field(default_factory=dict)
    zero: tuple[str, ...] = ()
    one_position: bool = True
    large: float = 100.0
    permutable: tuple[Arguments, ...] = ()
    no_gradient: tuple[str, ...] = ()
    drawn: tuple[Drawing, ...] = ()
    starts: Mapping[str, float | str] = field(default_factory=dict)
    orders: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    aliases: tuple[str, ...] = ()

    def arguments(self, size: Size) -> dict[str, Any]:
        """Return the arguments of the worked example, for an input of a given size."""
        return {**self.required(size), **self.example}


@dataclass(frozen=True)
class Mechanism:
    """One published mechanism.

    A record is the constant `RECORD` of a module of `attn_core.catalog.<family>`. The name of the
    module is the mechanism's key, with `_` for `-`; the folder is its family.

    Attributes:
        number: Its number in the documentation.
        name: The name in the literature.
        layers: The layers that implement it by class name, the principal one first.
        input: What it takes.
        summary: What it does, in one sentence.
        title: Title of the paper ("" where there is none).
        authors: Its authors, by surname.
        year: Year of its first publication.
        venue: The conference or journal with its year, "" if it is on arXiv only.
        arxiv: Its arXiv identifier ("" where there is none).
        url: Address of a paper that is not on arXiv.
        reference: The code with which the reference vectors are made: a repository, or the paper's
            equations if no code was released.
        port: Whether the repository is the work of others than the authors. Those of `COLLECTIONS`
            are, without being marked.
        aliases: Other names by which people look for it.
        use: When to use it, in two sentences; on its page they follow the summary.
        flow: The drawing of its data flow, as chains of steps, the leftmost chain first. A chain
            starts at `x` or at a step of an earlier chain, and ends at `y` or at a step of another
            chain. "*" is a product. A suffix such as "#2" distinguishes steps of the same name.
        parameters: Number of trainable parameters of the principal layer, a Python expression in
            C, H, W, N = H W and `symbols`.
        multiply_adds: Its multiply-adds for one sample, likewise.
        maps: Number of elements of the attention maps that it can return for one sample, likewise.
        options: The integer arguments of the principal layer that the costs depend on, with their
            values in the worked example.
        symbols: What other letters of the formulas stand for: in words, and as an expression
            in C, H, W, N, `options` and the letters before.
        needs: Conditions under which the formulas hold, in the same names.
        tasks: What it is for.
        related: Keys of mechanisms to see also.
        networks: Networks of `attn_core.models` that it is part of.
        small: Arguments of the principal layer for maps of 16 to 32 channels, where the defaults
            are made for wider ones.
        key: Its name on the command line; the name of the record's module.
        family: The folder of `attn_core.layers` that holds its principal layer; the record's too.
    """

    number: int
    name: str
    layers: Mapping[str, LayerRecord]
    input: Input
    summary: str
    title: str
    authors: str
    year: int
    venue: str
    arxiv: str
    reference: str
    use: str
    flow: tuple[str, ...]
    parameters: str
    multiply_adds: str
    maps: str = "0"
    url: str = ""
    port: bool = False
    aliases: tuple[str, ...] = ()
    options: Mapping[str, int] = field(default_factory=dict)
    symbols: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ("classification",)
    related: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    small: Arguments = field(default_factory=dict)
    key: str = ""
    family: str = ""

    @property
    def principal(self) -> str:
        """Class name of the principal layer."""
        return next(iter(self.layers))

    @property
    def other_names(self) -> tuple[str, ...]:
        """Its aliases, and those of its layers."""
        return (*self.aliases, *(name for one in self.layers.values() for name in one.aliases))

    @property
    def published(self) -> str:
        """Where and when it was published."""
        if not self.venue or str(self.year) in self.venue:
            return self.venue or str(self.year)
        return f"{self.venue}, first published in {self.year}"

    @property
    def paper_url(self) -> str:
        """Address of the paper ("" where there is none)."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.url

    @property
    def reference_url(self) -> str:
        """Address of the reference code ("" where the equations of the paper serve)."""
        return f"{GITHUB}{self.reference}" if "/" in self.reference else ""

    def values(self, size: Size = EXAMPLE, **options: int) -> dict[str, Any]:
        """Return the value of each name in the formulas, for an input of a given size.

        Args:
            size: Size of the input.
            **options: Values of `options` other than those of the worked example.
        """
        values: dict[str, Any] = {**FUNCTIONS, **self.options, **options}
        values |= {"C": size.channels, "H": size.height, "W": size.width, "N": size.positions}
        for letter, (_, expression) in self.symbols.items():
            values[letter] = eval(expression, {"__builtins__": {}}, values)
        return values

    def evaluate(self, formula: str, size: Size = EXAMPLE, **options: int) -> float:
        """Return the value of a formula of costs, or of a condition; arguments as in `values`."""
        return float(eval(formula, {"__builtins__": {}}, self.values(size, **options)))

    @property
    def evidence(self) -> Evidence:
        """How the reference vectors are made."""
        owner, slash, _ = self.reference.partition("/")
        if not slash:
            return "equations"
        return "port" if self.port or owner in COLLECTIONS else "authors"


@dataclass(frozen=True)
class Family:
    """A folder of layers: the constant `FAMILY` of `attn_core.catalog.<family>`.

    Attributes:
        order: Its place among the families.
        title: What its mechanisms have in common.
        place: Where in a network they belong.
        key: The name of the folder.
    """

    order: int
    title: str
    place: str
    key: str = ""
