"""The tutorials, docs/tutorials/<name>.py: as pages and notebooks, with what their run left.

`nox -s tutorials` runs them (scripts/checks/tutorials.py). What they printed and drew is kept
beside them, so that building the site runs nothing.
"""

import base64
import hashlib
import json
import re
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode, v4

from scripts.tables.markdown import table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "tutorials"
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}
NAMES = tuple(re.findall(r"tutorials/(\w+)\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
"""In the order of the navigation."""


def source(name: str) -> NotebookNode:
    """Return a tutorial as a notebook without outputs."""
    script = jupytext.read(FOLDER / f"{name}.py")
    script.metadata = NotebookNode(kernelspec=NotebookNode(KERNEL))
    for number, cell in enumerate(script.cells):
        cell.id = f"cell-{number}"  # jupytext draws one at random
        cell.metadata = NotebookNode()
    return script


def backend(name: str) -> str:
    """Return the backend that a tutorial sets, and runs on here."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return re.search(r'setdefault\("KERAS_BACKEND", "(\w+)"\)', text)[1]


def code_of(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def checksum(notebook: NotebookNode) -> str:
    """Return what changes with the code, and not with the text around it."""
    code = "\n\n".join(cell.source for cell in code_of(notebook))
    return hashlib.sha256(code.encode()).hexdigest()


def run_of(name: str) -> dict:
    """Return what the last run of a tutorial left."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def result(name: str) -> str:
    """Return what the last cell that prints has printed."""
    texts = [one["text"] for cell in run_of(name)["outputs"] for one in cell if "text" in one]
    return texts[-1].strip()


def title(name: str) -> str:
    """Return the heading of a tutorial."""
    return source(name).cells[0].source.splitlines()[0].removeprefix("# ")


def notebook(name: str) -> str:
    """Return the file that readers download: code, text and outputs."""
    script = source(name)
    for cell in script.cells:
        if cell.cell_type == "markdown":  # the pages that it links to are not beside it
            cell.source = re.sub(r"\[([^]]+)\]\((?!https:)[^)]+\)", r"\1", cell.source)
    for cell, outputs in zip(code_of(script), run_of(name)["outputs"], strict=True):
        cell.outputs = [_output(one) for one in outputs]
    return nbformat.writes(script)


def _output(one: dict[str, str]) -> NotebookNode:
    if "text" in one:
        return v4.new_output("stream", name="stdout", text=one["text"])
    picture = base64.b64encode((FOLDER / one["picture"]).read_bytes()).decode()
    return v4.new_output("display_data", data={"image/png": picture})


def page(name: str) -> str:
    """Return the page of a tutorial."""
    run = run_of(name)
    heading, _, first = (cells := source(name).cells)[0].source.partition("\n")
    versions = ", ".join(f"{library} {number}" for library, number in run["versions"].items())
    parts = [
        heading,
        "It ends with this result:",
        "\n".join(f"> {line}" for line in result(name).splitlines()),
        f"[Download this page as a notebook]({name}.ipynb). It ran from top to bottom with "
        f"{versions}, and took {run['seconds']} seconds of one CPU core.",
        first.strip(),
    ]
    outputs = iter(run["outputs"])
    for cell in cells[1:]:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts.append(f"```py\n{cell.source}\n```")
            parts += [_shown(one) for one in next(outputs)]
    return "\n\n".join(parts) + "\n"


def _shown(one: dict[str, str]) -> str:
    if "text" in one:
        return f"```text\n{one['text'].rstrip()}\n```"
    return f"![What the code above draws]({one['picture']})"


def overview() -> str:
    """Return the table of all tutorials."""
    rows = [
        [f"[{title(name)}](tutorials/{name}.md)", result(name).replace("\n", " ")] for name in NAMES
    ]
    return table(["Tutorial", "Its result"], rows)


def write(folder: Path) -> None:
    """Write the pages and the notebooks."""
    for name in NAMES:
        (folder / f"{name}.md").write_text(page(name), encoding="utf-8")
        (folder / f"{name}.ipynb").write_text(notebook(name), encoding="utf-8")
