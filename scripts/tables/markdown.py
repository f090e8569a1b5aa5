"""Tables in Markdown, and their place in a page."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], numbers: int = 0, after: int = 0
) -> str:
    """Return a table in Markdown.

    Args:
        headings: The titles of the columns.
        rows: The cells, row by row.
        numbers: How many of the last columns hold numbers, which are set to the right.
        after: How many columns without numbers come after these.
    """
    before = len(headings) - numbers - after
    rule = ["---"] * before + ["--:"] * numbers + ["---"] * after
    lines = [" | ".join(map(str, row)) for row in (headings, *rows)]
    return "\n".join([f"| {lines[0]} |", f"|{'|'.join(rule)}|", *(f"| {li} |" for li in lines[1:])])


def fill(path: Path, name: str, text: str) -> None:
    """Write a text between the two marks of that name in a page."""
    page = path.read_text()
    start, end = _marked(page, name).span(1)
    path.write_text(f"{page[:start]}\n{text}\n{page[end:]}")


def between(page: str, name: str) -> str:
    """Return what a page holds between the two marks of that name."""
    return _marked(page, name)[1].strip()


def _marked(page: str, name: str) -> re.Match:
    mark = f"<!-- {name}: written by `nox -s tables -- {name}` -->"
    found = re.search(f"{re.escape(mark)}(.*?)<!-- end -->", page, re.DOTALL)
    if found is None:
        raise ValueError(f'the page has no line "{mark}" that "<!-- end -->" follows.')
    return found
