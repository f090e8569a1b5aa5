"""Write the tables that are kept in README.md and docs/.

nox -s tables                     the list of mechanisms in README.md
nox -s tables -- communication    what a training step sends, in docs/distribution.md
nox -s tables -- insertion        attention in keras.applications, in docs/insert.md: half an hour
"""

import sys
from importlib import import_module
from pathlib import Path

from scripts.tables.markdown import fill

ROOT = Path(__file__).parents[2]
PAGES = {
    "readme": "README.md",
    "communication": "docs/distribution.md",
    "insertion": "docs/insert.md",
}
"""The page of each table. A module of the same name has the function `text`."""


def main(names: list[str]) -> None:
    """Write the tables of these names."""
    if unknown := set(names) - set(PAGES):
        sys.exit(f"Name some of {', '.join(PAGES)}. Received: {', '.join(sorted(unknown))}")
    for name in names:
        fill(ROOT / PAGES[name], name, import_module(f"scripts.tables.{name}").text())


if __name__ == "__main__":
    main(sys.argv[1:] or ["readme"])
