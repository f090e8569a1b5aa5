"""What type checkers see of attn_core: `python tests/typing/check.py`, in `nox -s lint`.

mypy and pyright must find no fault in user.py, nor in a file that constructs every layer, which is
written from the catalog. In mistakes.py they must flag every marked line, and no other. And the
types of at least 95 % of the public names must be known.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attn_command  # noqa: F401 - as long as it is loaded, attn_core needs no backend
from attn_core import catalog

FOLDER = Path(__file__).parent
BUILD = FOLDER.parents[1] / "build" / "typing"
LEAST_KNOWN = 0.95
"""The smallest share of public names whose types are known."""

Flagged = dict[int, list[str]]
"""The messages of a type checker, by line."""


def mypy(path: Path) -> Flagged:
    """Return what mypy flags in a file."""
    options = ["--config-file", FOLDER / "mypy.ini", "--cache-dir", BUILD / "mypy"]
    output = run("mypy", *options, "--output", "json", "--no-error-summary", path)
    flagged: Flagged = {}
    for one in map(json.loads, output.splitlines()):
        if one["severity"] == "error":
            flagged.setdefault(one["line"], []).append(one["message"])
    return flagged


def pyright(path: Path) -> Flagged:
    """Return what pyright flags in a file."""
    flagged: Flagged = {}
    for one in json.loads(run("pyright", "--outputjson", path))["generalDiagnostics"]:
        if one["severity"] == "error":
            flagged.setdefault(one["range"]["start"]["line"] + 1, []).append(one["message"])
    return flagged


def known_share() -> tuple[float, list[str]]:
    """Return the share of public names whose types pyright knows, and the names of the others."""
    output = run("pyright", "--verifytypes", "attn_core", "--ignoreexternal", "--outputjson")
    report = json.loads(output)["typeCompleteness"]
    unknown = [one["name"] for one in report["symbols"] if not one["isTypeKnown"]]
    return report["completenessScore"], unknown


def run(module: str, *arguments: str | Path) -> str:
    """Return what a type checker prints; what it finds is no failure here."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or (done.stderr and not done.stdout):
        sys.exit(f"{module} failed: {done.stdout}{done.stderr}")
    return done.stdout


def every_layer() -> Path:
    """Write a file that constructs every layer as the catalog's first case does; return it."""
    BUILD.mkdir(parents=True, exist_ok=True)
    lines = [f"from attn_core import {', '.join(catalog.LAYERS)}", ""]
    for name, record in catalog.LAYERS.items():
        config = {**record.cases[0].config, "name": "layer"}
        arguments = [f"{key}={value!r}" for key, value in config.items()]
        lines.append(f"{name}({', '.join(arguments)})")
    path = BUILD / "layers.py"
    path.write_text("\n".join(lines) + "\n")
    return path


def marked(path: Path) -> set[int]:
    """Return the lines of a file that hold a mistake."""
    lines = path.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# mistake")}


def compare(path: Path, checker: Callable[[Path], Flagged]) -> list[str]:
    """Return how the lines that a checker flags differ from the marked ones."""
    flagged, mistakes = checker(path), marked(path)
    lines = path.read_text().splitlines()
    wrong = [f"{n}: {'; '.join(flagged[n])}" for n in sorted(flagged.keys() - mistakes)]
    missed = [f"{n}: not flagged: {lines[n - 1]}" for n in sorted(mistakes - flagged.keys())]
    print(f"{checker.__name__}, {path.name}: {len(flagged)} of {len(mistakes)} lines flagged")
    return [f"{checker.__name__}, {path.name}:{line}" for line in (*wrong, *missed)]


def main() -> None:
    """Print what was checked; fail where something is not as it must be."""
    files = FOLDER / "user.py", FOLDER / "mistakes.py", every_layer()
    faults = []
    for path in files:
        faults += [*compare(path, mypy), *compare(path, pyright)]
    share, unknown = known_share()
    print(
        f"Types known of {share:.1%} of the public names. Unknown: {', '.join(unknown) or 'none'}"
    )
    if share < LEAST_KNOWN:
        faults.append(f"the types of only {share:.1%} of the public names are known")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
