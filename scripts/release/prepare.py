"""Prepare a release: `python -m scripts.release.prepare v0.1.0 <repository>`.

Checks that both packages have the version of the tag, and adds the addresses of the repository that
releases them to their metadata: a fork's wheels point to the fork.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    "Homepage": "",
    "Source": "",
    "Changelog": "/blob/main/CHANGELOG.md",
    "Issues": "/issues",
}


def prepare(packages: Path, tag: str, repository: str) -> None:
    """Check the versions below a folder of packages, and write `[project.urls]`."""
    for project in sorted(packages.glob("*/pyproject.toml")):
        (version_file,) = project.parent.glob("src/*/_version.py")
        text = version_file.read_text(encoding="utf-8")
        version = re.search(r'__version__ = "(.+)"', text)[1]
        if f"v{version}" != tag:
            raise SystemExit(f"{project.parent.name} has version {version}, the tag is {tag}.")
        content = project.read_text(encoding="utf-8")
        if "[project.urls]" not in content:
            lines = [f'{name} = "{repository}{page}"' for name, page in PAGES.items()]
            project.write_text("\n".join([content, "[project.urls]", *lines, ""]), "utf-8")


if __name__ == "__main__":
    prepare(ROOT / "packages", *sys.argv[1:])
