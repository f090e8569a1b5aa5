"""The sections of a docstring, by title: for `attn show` and the documentation."""

import inspect
import re

TITLE = re.compile(r"^([A-Z][\w -]+):$", re.MULTILINE)


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
