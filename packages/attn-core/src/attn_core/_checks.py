"""Checks of the arguments that users pass: one wording of errors for layers and models.

Each takes the layer or model that received the argument, the argument's name and its value, returns
the value, and raises a ValueError where it is not as it must be.
"""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, TypeVar

import keras

T = TypeVar("T")
Check = Callable[[Any, str, Any], T]


def error(owner: Any, message: str, received: object) -> ValueError:
    """Return the error of a layer or model: what was expected, then what was received."""
    name = getattr(owner, "name", None)
    who = type(owner).__name__ + (f" {name!r}" if name else "")
    return ValueError(f"{who}: {message} Received: {received}")


def nearest(name: str, known: Sequence[str]) -> str:
    """Return what an error says after an unknown argument: the most similar one, or all."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(known)}."


def integer(owner: Any, name: str, value: Any, minimum: int = 1) -> int:
    """Check that an argument is an integer of at least `minimum`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise error(owner, f"`{name}` must be an integer >= {minimum}.", f"{name}={value!r}")
    return int(value)


def odd(owner: Any, name: str, value: Any, minimum: int = 1) -> int:
    """Check that an argument is an odd integer of at least `minimum`."""
    if integer(owner, name, value, minimum) % 2 == 0:
        raise error(owner, f"`{name}` must be an odd integer.", f"{name}={value!r}")
    return int(value)


def optional(check: Check[T], owner: Any, name: str, value: Any) -> T | None:
    """Check an argument that may be `None`, which stands for a value that `build` finds."""
    return None if value is None else check(owner, name, value)


def number(owner: Any, name: str, value: Any, minimum: float = -float("inf")) -> float:
    """Check that an argument is a finite number of at least `minimum`."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not minimum <= value < float("inf") or value == -float("inf"):
        bound = "" if minimum == -float("inf") else f" >= {minimum}"
        raise error(owner, f"`{name}` must be a finite number{bound}.", f"{name}={value!r}")
    return value


def positive(owner: Any, name: str, value: Any) -> float:
    """Check that an argument is a finite number above 0."""
    if number(owner, name, value, 0.0) == 0:
        raise error(owner, f"`{name}` must be a finite number > 0.", f"{name}={value!r}")
    return value


def rate(owner: Any, name: str, value: Any) -> float:
    """Check that an argument is a dropout rate, in [0, 1)."""
    if not number(owner, name, value, 0.0) < 1:
        raise error(owner, f"`{name}` must be in the range [0, 1).", f"{name}={value!r}")
    return value


def flag(owner: Any, name: str, value: Any) -> bool:
    """Check that an argument is True or False."""
    if not isinstance(value, bool):
        raise error(owner, f"`{name}` must be True or False.", f"{name}={value!r}")
    return value


def choice(owner: Any, name: str, value: Any, choices: Iterable[T]) -> T:
    """Check that an argument is one of `choices`."""
    if not any(type(value) is type(one) and value == one for one in choices):
        expected = ", ".join(repr(choice) for choice in choices)
        raise error(owner, f"`{name}` must be one of {expected}.", f"{name}={value!r}")
    return value


def activation(owner: Any, name: str, value: Any) -> Callable:
    """Check that an argument names a Keras activation; return its function."""
    try:
        return keras.activations.get(value)
    except (TypeError, ValueError) as cause:
        message = f"`{name}` must be the name of a Keras activation."
        raise error(owner, message, f"{name}={value!r}") from cause


def regularizer(owner: Any, name: str, value: Any) -> keras.regularizers.Regularizer | None:
    """Check that an argument is a Keras regularizer, its name, its configuration, or `None`."""
    try:
        return keras.regularizers.get(value)
    except (TypeError, ValueError) as cause:
        message = f"`{name}` must be a Keras regularizer, its name, or None."
        raise error(owner, message, f"{name}={value!r}") from cause


def sequence(
    owner: Any, name: str, value: Any, check: Check[T], length: int | None = None
) -> tuple[T, ...]:
    """Check that an argument is a non-empty list or tuple, and each of its entries."""
    if not isinstance(value, (list, tuple)) or not value:
        raise error(owner, f"`{name}` must be a non-empty tuple.", f"{name}={value!r}")
    if length is not None and len(value) != length:
        raise error(owner, f"`{name}` must have {length} entries.", f"{name}={value!r}")
    return tuple(check(owner, f"{name}[{index}]", item) for index, item in enumerate(value))


def one_or_pair(owner: Any, name: str, value: Any, check: Check[T]) -> T | tuple[T, ...]:
    """Check that an argument is one value, or a pair of them."""
    if isinstance(value, (list, tuple)):
        return sequence(owner, name, value, check, length=2)
    return check(owner, name, value)


def per_stage(owner: Any, name: str, value: Any, stages: int, check: Check[T]) -> tuple[T, ...]:
    """Check an argument that is one value, or one for each stage; return one for each stage."""
    if not isinstance(value, (list, tuple)):
        return (check(owner, name, value),) * stages
    values = sequence(owner, name, value, check)
    if len(values) != stages:
        message = f"`{name}` must be one value, or {stages}: one a stage."
        raise error(owner, message, f"{name}={value!r}")
    return values


def divisible(owner: Any, what: str, value: int, divisor_name: str, divisor: int) -> int:
    """Check that `value` divides evenly by `divisor`; return the quotient."""
    if value % divisor:
        message = f"{what} must be divisible by {divisor_name}={divisor}."
        raise error(owner, message, f"{what} = {value}")
    return value // divisor
