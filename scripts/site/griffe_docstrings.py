"""Griffe extension: docstrings as mkdocstrings is to show them."""

import re

import attn_command  # noqa: F401 - first: attn_core then loads no Keras
import griffe

TITLES = {"Call arguments": "Other Args: Call arguments:", "Example": "Examples:"}
"""Titles of sections that Griffe does not know, and the titles that it knows."""
EXAMPLE = re.compile(r"(^Args:\n.*?)(^Example:\n(?:(?: {4}.*)?\n)*)", re.DOTALL | re.MULTILINE)
"""The example of a docstring, and the sections before it."""


class Docstrings(griffe.Extension):
    """Shows examples as code, before the tables of arguments."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Change the docstring of an object."""
        if not obj.docstring:
            return
        text = obj.docstring.value
        text = EXAMPLE.sub(r"\2\n\1", f"{text}\n")
        for title, known in TITLES.items():
            text = re.sub(rf"^{title}:$", known, text, flags=re.MULTILINE)
        obj.docstring.value = text
