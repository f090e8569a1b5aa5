"""The links within the built site."""

import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Collects the addresses that a page names, and the places in it that can be named."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places = [], {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.links += [values[name] for name in ("href", "src") if values.get(name)]
        self.places |= {values[name] for name in ("id", "name") if values.get(name)}


def broken_links(site: Path) -> list[str]:
    """Return the links to pages, files and places that the site does not have."""
    pages = {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}
    faults = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = name
            if parts.path:
                folder = "" if parts.path.startswith("/") else os.path.dirname(name)
                target = os.path.normpath(os.path.join(folder, unquote(parts.path).lstrip("/")))
            target = "index.html" if target == "." else target
            place = unquote(parts.fragment)
            if not (site / target).is_file() or (
                target in pages and place not in pages[target].places
            ):
                faults.append(f"{name} links to {link}")
    return faults
