"""`create_attention`: a layer by the name of its mechanism."""

import ast
from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from attn_core import catalog, layers
from attn_core._checks import nearest
from attn_core._typing import ImageArguments, LayerArguments
from attn_core.layers._base import ImageLayer
from attn_core.layers._configuration import parameters

Factory: TypeAlias = Callable[..., keras.layers.Layer]
"""A layer class, or a function that returns a layer."""


def create_attention(
    attention: str | bool | Factory | keras.layers.Layer | None, **config: Any
) -> keras.layers.Layer | None:
    """Return the attention layer of a given name, so that a network can have it as an argument.

    Args:
        attention: One of:

            - a name, in upper or lower case: of a layer ("SEAttention"), of a mechanism as in
              `attn list` ("se"), or another common name ("senet"), for example timm's. The name of
              a mechanism selects its principal layer.
            - a name with arguments, as in a configuration file: "cbam:reduction=8,kernel_size=5".
              The values are Python literals; strings are in quotes.
            - a layer class, or a function that returns a layer.
            - a layer, which is returned unchanged; then no arguments can be given.
            - `None`, "" or `False`: no attention; the result is `None`. `True` is "se".
        **config: Arguments of the layer.

    Returns:
        The layer, not built yet, or `None`.

    Raises:
        ValueError: If there is no mechanism of that name (the message suggests similar names), the
            layer has no such argument, an argument is given twice, or `attention` is not one of
            these.

    Example:
        >>> layer = create_attention("cbam:reduction=8", kernel_size=5)
        >>> type(layer).__name__, layer.reduction, layer.kernel_size
        ('CBAM', 8, 5)

    Differs from timm's `create_attn`:
        You do not give the number of channels, because the layer infers it. The defaults are those
        of the authors' code, not timm's. For example, in timm "gc" multiplies and "gca" adds; here
        both add, and "gc:fusion=('multiply',)" multiplies. timm's names "ceca", "ecam", "lcbam" and
        "scoord" are variants that no paper describes, and are not available.
    """
    if attention is None or attention is False or attention == "":
        return None
    if isinstance(attention, keras.layers.Layer):
        if config:
            raise _error("a layer that exists takes no arguments.", config)
        return attention
    if isinstance(attention, (str, bool)):
        attention, config = resolve("se" if attention is True else attention, config)
    if not callable(attention):
        raise _error(
            "`attention` must be a name, a layer class, a function that returns a layer, a layer, "
            "or None.",
            f"attention={attention!r}",
        )
    layer = attention(**config)
    if not isinstance(layer, keras.layers.Layer):
        raise _error("`attention` must return a layer.", f"{layer!r}")
    return layer


def resolve(entry: str, config: dict[str, Any]) -> tuple[type[keras.layers.Layer], dict[str, Any]]:
    """Return the class that an entry names, and its arguments together with those of `config`."""
    name, _, text = entry.partition(":")
    layer: type[keras.layers.Layer] = getattr(layers, catalog.layer_name(name.strip()))
    written = _arguments(entry, text)
    twice = sorted(written.keys() & config.keys())
    if twice:
        raise _error(f"`{twice[0]}` is given twice.", f"{entry!r}, {twice[0]}={config[twice[0]]!r}")
    given = written | config
    known = _known(layer)
    for argument in given:
        if argument not in known:
            raise _error(
                f"{layer.__name__} has no argument `{argument}`; {nearest(argument, known)}",
                f"{argument}={given[argument]!r}",
            )
    return layer, given


def _arguments(entry: str, text: str) -> dict[str, Any]:
    """Return the arguments written in an entry, as in a call."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError(text)
        written: dict[str, Any] = {}
        for one in call.keywords:
            if one.arg is None or one.arg in written:  # None: two stars and a dictionary
                raise ValueError(text)
            written[one.arg] = ast.literal_eval(one.value)
        return written
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise _error(
            "after the colon come arguments by name, whose values are Python literals, strings in "
            'quotes: "cbam:reduction=8,kernel_size=5".',
            f"{entry!r}",
        ) from None


def _known(layer: type[keras.layers.Layer]) -> list[str]:
    """Return the names of all arguments of a layer of this library."""
    own = [
        name
        for name, one in parameters(layer.__init__).items()
        if name != "self" and one.kind is not one.VAR_KEYWORD
    ]
    shared = ImageArguments if issubclass(layer, ImageLayer) else LayerArguments
    return [*own, *shared.__annotations__]


def _error(message: str, received: object) -> ValueError:
    return ValueError(f"create_attention: {message} Received: {received}")
