"""Checks of the arguments that users pass: one wording of errors for layers and models."""

from numbers import Integral, Real

import keras


class Checks:
    """Methods that check one argument each, return its value, and raise a ValueError."""

    def error(self, message: str, received) -> ValueError:
        """Return the error of this layer or model: what was expected, then what was received."""
        name = getattr(self, "name", None)
        owner = type(self).__name__ + (f" {name!r}" if name else "")
        return ValueError(f"{owner}: {message} Received: {received}")

    def integer(self, name: str, value, minimum: int = 1) -> int:
        """Check that argument `name` is an integer of at least `minimum`."""
        if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
            raise self.error(f"`{name}` must be an integer >= {minimum}.", f"{name}={value!r}")
        return int(value)

    def odd(self, name: str, value, minimum: int = 1) -> int:
        """Check that argument `name` is an odd integer of at least `minimum`."""
        if self.integer(name, value, minimum) % 2 == 0:
            raise self.error(f"`{name}` must be an odd integer.", f"{name}={value!r}")
        return int(value)

    def number(self, name: str, value, minimum: float = -float("inf")) -> float:
        """Check that argument `name` is a finite number of at least `minimum`."""
        real = isinstance(value, Real) and not isinstance(value, bool)
        if not real or not minimum <= value < float("inf") or value == -float("inf"):
            bound = "" if minimum == -float("inf") else f" >= {minimum}"
            raise self.error(f"`{name}` must be a finite number{bound}.", f"{name}={value!r}")
        return value

    def positive(self, name: str, value) -> float:
        """Check that argument `name` is a finite number above 0."""
        if self.number(name, value, 0.0) == 0:
            raise self.error(f"`{name}` must be a finite number > 0.", f"{name}={value!r}")
        return value

    def rate(self, name: str, value) -> float:
        """Check that argument `name` is a dropout rate, in [0, 1)."""
        if not self.number(name, value, 0.0) < 1:
            raise self.error(f"`{name}` must be in the range [0, 1).", f"{name}={value!r}")
        return value

    def flag(self, name: str, value) -> bool:
        """Check that argument `name` is True or False."""
        if not isinstance(value, bool):
            raise self.error(f"`{name}` must be True or False.", f"{name}={value!r}")
        return value

    def choice(self, name: str, value, choices):
        """Check that argument `name` is one of `choices`."""
        if not any(type(value) is type(one) and value == one for one in choices):
            expected = ", ".join(repr(choice) for choice in choices)
            raise self.error(f"`{name}` must be one of {expected}.", f"{name}={value!r}")
        return value

    def activation_function(self, name: str, value):
        """Check that argument `name` names a Keras activation; return its function."""
        try:
            return keras.activations.get(value)
        except (TypeError, ValueError) as error:
            raise self.error(
                f"`{name}` must be the name of a Keras activation.", f"{name}={value!r}"
            ) from error

    def sequence(self, name: str, value, check, length: int | None = None) -> tuple:
        """Check that argument `name` is a non-empty list or tuple; `check(name, item)` each."""
        if not isinstance(value, (list, tuple)) or not value:
            raise self.error(f"`{name}` must be a non-empty tuple.", f"{name}={value!r}")
        if length is not None and len(value) != length:
            raise self.error(f"`{name}` must have {length} entries.", f"{name}={value!r}")
        return tuple(check(f"{name}[{index}]", item) for index, item in enumerate(value))

    def divisible(self, what: str, value: int, divisor_name: str, divisor: int) -> int:
        """Check that `value` divides evenly by `divisor`; return the quotient."""
        if value % divisor:
            raise self.error(
                f"{what} must be divisible by {divisor_name}={divisor}.", f"{what} = {value}"
            )
        return value // divisor
