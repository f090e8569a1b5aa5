"""The libraries that a user gets, with versions and licences, from what is installed here."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, metadata
from pathlib import Path

from packaging.requirements import Requirement

from scripts.site import browser_libraries
from scripts.tables import markdown

PROJECT = Path(__file__).parents[2] / "packages" / "attn-core" / "pyproject.toml"


def named() -> dict[str, str]:
    """Return the libraries that attn-core names, and the extra that brings each."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    wanted = {"": project["dependencies"], **project["optional-dependencies"]}
    return {Requirement(line).name: extra for extra, lines in wanted.items() for line in lines}


def behind(names) -> list[str]:
    """Return what those libraries need themselves, without extras, as far as it is installed."""
    found, left = [], list(names)
    while left:
        try:
            lines = distribution(left.pop()).requires or ()
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and name not in (*found, *names):
                found.append(name)
                left.append(name)
    return sorted(found)


def licence(name: str) -> str:
    """Return what a library's metadata says of its licence, in a few words."""
    about = metadata(name)
    if about["License-Expression"]:
        return about["License-Expression"]
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier", [])
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    text = (about["License"] or "").strip().splitlines()
    return ", ".join(classifiers) or (text[0] if text else "not stated")


def table() -> str:
    """Return the libraries in Markdown: those that attn-core names, and those behind them."""
    wanted = {name: f"extra `{extra}`" if extra else "attn-core" for name, extra in named().items()}
    rows = []
    for name, by in {**wanted, **dict.fromkeys(behind(wanted), "those above")}.items():
        try:
            rows.append([name, by, metadata(name)["Version"], licence(name)])
        except PackageNotFoundError:
            rows.append([name, by, "not installed", ""])
    return markdown.table(["Library", "Needed by", "Version here", "Licence"], rows)


def browser_table() -> str:
    """Return the JavaScript libraries that the site ships, in Markdown."""
    rows = [
        [one.name, one.use, one.version, f"[{one.licence}](assets/lib/{one.short}.LICENSE.txt)"]
        for one in browser_libraries.LIBRARIES
    ]
    return markdown.table(["Library", "On this site", "Version", "Licence"], rows)
