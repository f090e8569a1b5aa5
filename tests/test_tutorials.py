"""The tutorials, docs/tutorials/: what their pages show is what their code printed and drew."""

import re

import nbformat
import pytest

from scripts.site import tutorials

LIMIT = 60
"""Seconds of one core."""
each = pytest.mark.parametrize("name", tutorials.NAMES)


def test_every_script_is_in_the_navigation():
    assert sorted(tutorials.NAMES) == sorted(path.stem for path in tutorials.FOLDER.glob("*.py"))


@each
def test_the_kept_run_is_that_of_the_code(name):
    run, script = tutorials.run_of(name), tutorials.source(name)
    assert run["code"] == tutorials.checksum(script), "run nox -s tutorials"
    assert len(run["outputs"]) == len(tutorials.code_of(script))
    assert run["seconds"] < LIMIT
    assert "/tmp" not in str(run["outputs"])


@each
def test_pictures(name):
    outputs = [one for cell in tutorials.run_of(name)["outputs"] for one in cell]
    drawn = {one["picture"] for one in outputs if "picture" in one}
    kept = {path.name for path in tutorials.FOLDER.glob(f"{name}_*.png")}
    assert drawn == kept
    for path in kept:
        content = (tutorials.FOLDER / path).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 100_000, path


@each
def test_the_notebook_is_valid(name):
    text = tutorials.notebook(name)
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert text == tutorials.notebook(name)  # no random number
    assert notebook.cells[0].source.startswith(f"# {tutorials.title(name)}\n")
    prose = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert not re.search(r"\]\((?!https:)", prose)  # no page is beside it


@each
def test_the_page_quotes_the_result(name):
    page, result = tutorials.page(name), tutorials.result(name)
    assert all(page.count(line) == 2 for line in result.splitlines())
    last = tutorials.run_of(name)["outputs"][-1][-1]
    assert last["text"].strip() == result  # a tutorial ends with it
    for cell in tutorials.code_of(tutorials.source(name)):
        assert f"```py\n{cell.source}\n```" in page
    assert result.replace("\n", " ") in tutorials.overview()


def test_checksum_is_of_the_code_alone():
    one = tutorials.source(tutorials.NAMES[0])
    before = tutorials.checksum(one)
    one.cells[0].source += " More text."
    assert tutorials.checksum(one) == before
    tutorials.code_of(one)[0].source += "\nx = 1"
    assert tutorials.checksum(one) != before
