r"""Markdown extension: formulas as MathML, which browsers draw without scripts or fonts of ours.

`$$...$$` and `$...$` are TeX; `\(...\)` means the same as the latter. Code is left alone. A number
such as 1e-5 stays on one line.
"""

import re
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markdown import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.util import AtomicString

BLOCK = r"(?<!\\)\$\$(.+?)(?<!\\)\$\$"
INLINE = r"(?<![\\$\w])\$(?![\s$])([^$\n]+?)(?<![\\\s])\$(?![\w$])"
PARENTHESES = r"(?<!\\)\\\((.+?)\\\)"
NUMBER = r"(?<![\w.])(\d[\d.]*e-\d+)\b"

LETTER = re.compile(r'<mi mathvariant="normal">([^<]*)</mi>')
WORD = re.compile(f"<mrow>((?:{LETTER.pattern}){{2,}})</mrow>")
"""How the converter writes a word in roman letters: one by one, as if multiplied."""


def mathml(tex: str, display: str = "inline") -> str:
    """Return a formula as MathML."""
    tex = re.sub(r"\s+", " ", tex).strip()
    result = WORD.sub(_word, convert(tex, display=display))
    if "\\" in result:
        raise ValueError(f"a formula has a command that cannot be translated. Received: {tex}")
    return result


def _word(letters: re.Match) -> str:
    return "<mi>" + LETTER.sub(r"\1", letters.group(1)) + "</mi>"


def shown(tex: str, display: str) -> str:
    """Return a formula for a page; a block of several has a line and a scroll bar for each."""
    if display == "inline":
        return mathml(tex)
    lines = (mathml(line.strip(), display) for line in re.split(r"\\qquad|\\\\", tex))
    return "".join(f'<span class="formula">{line}</span>' for line in lines)


class Formula(InlineProcessor):
    """Puts the MathML of what lies between the marks into the page."""

    def __init__(self, pattern: str, md, display: str):
        super().__init__(pattern, md)
        self.compiled_re = re.compile(pattern, re.DOTALL | re.UNICODE)
        self.display = display

    def handleMatch(self, m, data):  # noqa: N802 - Markdown's name
        """Return the formula, which nothing else may change, and where it ends."""
        return self.md.htmlStash.store(shown(m.group(1), self.display)), m.start(0), m.end(0)


class Number(InlineProcessor):
    """Keeps a number whole: a browser may break a line after its minus sign."""

    def handleMatch(self, m, data):  # noqa: N802 - Markdown's name
        """Return the number as an element, and where it ends."""
        element = ElementTree.Element("span", {"class": "number"})
        element.text = AtomicString(m.group(1))
        return element, m.start(0), m.end(0)


class FormulaExtension(Extension):
    """Formulas come after code (190), and before all else; numbers after tags (90)."""

    def extendMarkdown(self, md):  # noqa: N802 - Markdown's name
        """Register the three kinds of marks, and numbers."""
        patterns = md.inlinePatterns
        patterns.register(Formula(BLOCK, md, "block"), "formula-block", 187)
        patterns.register(Formula(PARENTHESES, md, "inline"), "formula-parentheses", 186)
        patterns.register(Formula(INLINE, md, "inline"), "formula-inline", 185)
        patterns.register(Number(NUMBER, md), "number", 85)


def makeExtension(**options):  # noqa: N802 - Markdown's name
    """Return the extension."""
    return FormulaExtension(**options)
