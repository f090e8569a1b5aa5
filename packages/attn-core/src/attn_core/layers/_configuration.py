"""Which arguments a layer or network was made of: its own, and those passed on to its parents."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from itertools import chain
from typing import Any, Self

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Configured:
    """Base of what is made again from its configuration, subclasses with `**kwargs` included.

    A subclass may pass `*args` and `**kwargs` on to its parent, and may fix arguments of the
    parent. Its configuration must hold what the user gave, and must not hold what the subclass
    fixes: its constructor fixes that again.
    """

    _given: frozenset[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note which arguments were given: the constructors cannot tell them from fixed ones."""
        instance = super().__new__(cls, *args, **kwargs)
        instance._given = frozenset((*kwargs, *_given_by_position(cls, args)))
        return instance

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *args: Any) -> Self:
        """Return the layer or network that a configuration describes."""
        return super().from_config(without_functions(config), *args)  # type: ignore[misc]

    def _argument_names(self) -> list[str]:
        """Return the arguments of the outermost constructor, and those given to the others."""
        own, *others = map(arguments, _constructors(type(self)))
        given = (name for names in others for name in names if name in self._given)
        return list(dict.fromkeys((*own, *given)))


def without_functions(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which the names of Keras' functions are names.

    The loader of `.h5` files replaces every string that names a function of Keras: "multiply".
    """

    def name(value: Any) -> Any:
        mine = inspect.isfunction(value) and value.__module__.startswith("keras.")
        return value.__name__ if mine else value

    return {key: name(value) for key, value in config.items()}


@cache
def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function, `self` included, by name."""
    return inspect.signature(function).parameters


def arguments(constructor: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a constructor declares."""
    named = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters(constructor).values() if p.kind in named][1:]


def declared(cls: type[Configured]) -> list[str]:
    """Return the names of the arguments of a class and of its parents, the outermost first."""
    return list(dict.fromkeys(chain(*map(arguments, _constructors(cls)))))


def _constructors(cls: type) -> list[Callable[..., Any]]:
    """Return the constructors of a class and its parents, outermost first."""
    kinds = [kind for kind in cls.__mro__ if issubclass(kind, Configured)]
    return [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)]


def _given_by_position(cls: type, args: tuple[Any, ...]) -> list[str]:
    """Return the names of positional arguments: what `*args` takes is the next parent's."""
    names: list[str] = []
    for constructor in _constructors(cls):
        kinds = parameters(constructor).values()
        own = [p.name for p in kinds if p.kind in _POSITIONAL][1:]
        names += own[: len(args)]
        args = args[len(own) :]
        if not any(p.kind is p.VAR_POSITIONAL for p in kinds):
            break
    return names
