"""The sections of a layer's docstring, by title."""

import inspect
import re

TITLE = re.compile(r"^([A-Z][\w -]+):$", re.MULTILINE)
ELSEWHERE = ("", "Example", "Reference", "Differs from the paper", "Differs from the reference")
"""Sections that a mechanism's page has in places of their own; "" is the text before the first."""


def split(documentation: str) -> dict[str, str]:
    """Return the text of each section of a clean docstring, without its indentation."""
    first, *others = TITLE.split(documentation)
    titles, texts = others[::2], others[1::2]
    texts = [inspect.cleandoc(text) for text in texts]
    return {"": first.strip(), **dict(zip(titles, texts, strict=True))}


def sections(cls: type) -> dict[str, str]:
    """Return the text of each section of a class's docstring."""
    return split(inspect.getdoc(cls))


def differences(cls: type) -> str:
    """Return how a layer differs from its paper."""
    found = [text for title, text in sections(cls).items() if title.startswith("Differs from")]
    return found[0]


def without(documentation: str, titles: tuple[str, ...] = ELSEWHERE) -> str:
    """Return a docstring without some of its sections."""
    kept = {title: text for title, text in split(documentation).items() if title not in titles}
    indented = (text.replace("\n", "\n    ") for text in kept.values())
    return "\n\n".join(f"{t}:\n    {i}" for t, i in zip(kept, indented, strict=True))
