"""Write the skeleton of a new mechanism: family, key and class of its principal layer.

nox -s new -- gates sim-am SimAM

The texts are in skeleton.txt. What is still to write is marked TODO there; a test fails as long as
a mark is left.
"""

import argparse
import keyword
import re
from pathlib import Path
from string import Template

import attn_command  # noqa: F401 - first: attn_core then loads no Keras
from attn_core import catalog

ROOT = Path(__file__).parents[2]
PACKAGE = Path("packages", "attn-core", "src", "attn_core")
WIDTH = 100
"""Most characters of a line."""


def main(root: Path, family: str, key: str, layer: str) -> list[str]:
    """Write the files of a mechanism, and return their paths below `root`.

    Raises:
        ValueError: If a name cannot be used or is taken.
    """
    check(family, key, layer)
    is_new = family not in catalog.FAMILIES
    names = {
        "family": family,
        "module": (module := key.replace("-", "_")),
        "layer": layer,
        "number": 1 + max(mechanism.number for mechanism in catalog.MECHANISMS),
        "order": 1 + max(known.order for known in catalog.FAMILIES.values()),
    }
    touched = []
    for path, text in skeleton(names).items():
        if is_new or not path.endswith("__init__.py"):
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(text)
            touched.append(path)
    imports = [(PACKAGE / "layers" / family, f"attn_core.layers.{family}._{module}", layer)]
    if is_new:
        imports += [(folder, f"attn_core.layers.{family}", "*") for folder in families(PACKAGE)]
    for folder, imported, name in imports:
        path = root / folder / "__init__.py"
        path.write_text(with_import(path.read_text(), imported, name))
        touched.append(str(folder / "__init__.py"))
    changes = root / "CHANGELOG.md"
    changes.write_text(with_change(changes.read_text(), f"- `{layer}`: TODO what it does."))
    return list(dict.fromkeys([*touched, "CHANGELOG.md"]))


def families(package: Path) -> list[Path]:
    """Return the folders whose `__init__.py` names every family."""
    return [package, package / "layers"]


def check(family: str, key: str, layer: str) -> None:
    """Raise a ValueError if a name cannot be used or is taken."""
    forms = {
        "the family": (family, r"[a-z][a-z0-9]*", "gates"),
        "the key": (key, r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "sim-am"),
        "the layer": (layer, r"[A-Z][A-Za-z0-9]*", "SimAM"),
    }
    for what, (name, form, example) in forms.items():
        if not re.fullmatch(form, name) or keyword.iskeyword(name):
            raise ValueError(f"{what} must be a name like {example}. Received: {name!r}")
    for name in (key, layer):
        if known := catalog.find(name):
            raise ValueError(f"{name!r} is a name of the mechanism {known.key!r}.")


def skeleton(names: dict) -> dict[str, str]:
    """Return the text of each file by its path."""
    template = Template(Path(__file__).with_name("skeleton.txt").read_text())
    _, *parts = re.split(r"^=== (.*)\n", template.substitute(names), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def with_import(text: str, module: str, name: str) -> str:
    """Return the text of a module with one import more, in alphabetical order."""
    package = module.rpartition(".")[0]
    others = list(re.finditer(rf"^( *)from ({re.escape(package)}\.\w+) import ", text, re.M))
    indent = others[0][1] if others else ""
    line = f"{indent}from {module} import {name}"
    if name != "*":
        line += f" as {name}"
    if len(line) > WIDTH:
        line = f"from {module} import (\n    {name} as {name},\n)"
    after = [other.start() for other in others if other[2] > module]
    if after:
        return f"{text[: after[0]]}{line}\n{text[after[0] :]}"
    return f"{text}{'' if others else chr(10)}{line}\n"


def with_change(text: str, line: str) -> str:
    """Return the changelog with a line more at the end of what was added to the next version."""
    heading = re.search(r"## Unreleased\n+(?:.*\n)*?### Added\n\n", text)
    if heading is None:
        raise ValueError('CHANGELOG.md has no "### Added" under "## Unreleased".')
    end = re.compile(r"\n*(?=\n#|\Z)").search(text, heading.end()).start()
    return f"{text[:end]}\n{line}{text[end:]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="nox -s new --", description=__doc__.splitlines()[0])
    parser.add_argument("family", help="folder in layers/, a new one too: gates")
    parser.add_argument("key", help="name on the command line: sim-am")
    parser.add_argument("layer", help="class of the principal layer: SimAM")
    options = parser.parse_args()
    try:
        touched = main(ROOT, options.family, options.key, options.layer)
    except ValueError as error:
        parser.error(str(error))
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", options.layer).lower()
    print("Written:", *touched, sep="\n    ")
    print(f"Still to add: reference vectors, tests/golden/{snake}__*.npz (see CONTRIBUTING.md).")
    print("Then replace every TODO: git diff; git grep -n TODO.")
