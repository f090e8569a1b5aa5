"""Griffe extension: docstrings as mkdocstrings is to show them."""

import re

import griffe
from docstring_sections import without

TITLES = {"Call arguments": "Other Args: Call arguments:", "Example": "Examples:"}
"""Titles of sections that Griffe would take for prose, and how it knows them."""


class Docstrings(griffe.Extension):
    """Makes examples code, and leaves out of a layer what its page says in places of its own."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Change the docstring of an object."""
        if not obj.docstring:
            return
        text = obj.docstring.value
        if obj.path.startswith("attn_core.layers.") and "Call arguments:" in text:
            text = without(text)
        for title, known in TITLES.items():
            text = re.sub(rf"^{title}:$", known, text, flags=re.MULTILINE)
        obj.docstring.value = text
