"""Put a built site beside those of other versions: `site_versions.py site pages v0.1.0`.

Below `pages`, each version has a folder, and a branch's site is `dev`. `versions.json` lists them
for the theme's menu; `index.html` leads to the newest release, or to `dev` before the first.
"""

import json
import re
import shutil
import sys
from pathlib import Path

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>attn</title>
<meta http-equiv="refresh" content="0; url={version}/index.html">
<a href="{version}/index.html">attn {version}</a>
"""


def add(site: Path, pages: Path, name: str) -> None:
    """Replace the folder of a tag (`v` and its number) or a branch (any other name)."""
    version = name.removeprefix("v") if re.fullmatch(r"v\d.*", name) else "dev"
    shutil.rmtree(pages / version, ignore_errors=True)
    shutil.copytree(site, pages / version)
    folders = [path.parent.name for path in pages.glob("*/index.html")]
    releases = sorted((f for f in folders if f != "dev"), key=_number, reverse=True)
    newest = next((v for v in releases if re.fullmatch(r"[\d.]+", v)), "dev")
    listed = [
        {"version": version, "title": version, "aliases": ["latest"] if version == newest else []}
        for version in [*releases, *(["dev"] if "dev" in folders else [])]
    ]
    (pages / "versions.json").write_text(json.dumps(listed, indent=2) + "\n")
    (pages / "index.html").write_text(PAGE.format(version=newest))
    (pages / ".nojekyll").touch()  # folders with an underscore are files like others


def _number(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


if __name__ == "__main__":
    add(*map(Path, sys.argv[1:3]), sys.argv[3])
