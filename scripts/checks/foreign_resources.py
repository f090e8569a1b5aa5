"""Check that a built site loads no script, style, font or picture from another host.

python -m scripts.checks.foreign_resources site
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

FOREIGN = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
LINKS = ("a", "area", "base")
"""Elements whose addresses a reader follows; those of all others are loaded."""

UNLOADED = ("alternate", "canonical", "next", "prev")
"""Relations of `link` elements that load nothing."""


class Resources(HTMLParser):
    """Collects the addresses of other hosts that a page loads."""

    def __init__(self):
        super().__init__()
        self.foreign = []
        self.in_style = False

    def handle_starttag(self, tag, attributes):
        """Look at the addresses of an element, and at its style."""
        values = {name: value or "" for name, value in attributes}
        self.in_style = tag == "style"
        self.foreign += IN_STYLES.findall(values.get("style", ""))
        if tag in LINKS or (tag == "link" and values.get("rel") in UNLOADED):
            return
        for name in ("src", "href", "data", "poster", "xlink:href"):
            self.foreign += [values[name]] if FOREIGN.match(values.get(name, "")) else []
        for candidate in values.get("srcset", "").split(","):
            self.foreign += [candidate.strip()] if FOREIGN.match(candidate) else []

    def handle_data(self, data):
        """Look at the text of a style element."""
        self.foreign += IN_STYLES.findall(data) if self.in_style else []


def foreign_resources(path: Path) -> list[str]:
    """Return the addresses of other hosts that a page or style sheet loads."""
    if path.suffix == ".css":
        return IN_STYLES.findall(path.read_text())
    page = Resources()
    page.feed(path.read_text())
    return page.foreign


def main(folder: str) -> int:
    """Print what is loaded from elsewhere; return the exit status."""
    paths = [path for path in Path(folder).rglob("*") if path.suffix in (".html", ".css", ".svg")]
    if not paths:
        print(f"{folder} holds no site.")
        return 1
    found = [(path, address) for path in paths for address in foreign_resources(path)]
    for path, address in found:
        print(f"{path} loads {address}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
