"""Workflows and release: what they name exists, what they run does what it says."""

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from scripts.release import prepare as release
from scripts.release import site_versions

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))


def sessions() -> set[str]:
    """Return the names of the sessions of noxfile.py, with their parameters."""
    names = set()
    for function in (node for node in NOXFILE.body if isinstance(node, ast.FunctionDef)):
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        if any(text.startswith("nox.session") for text in decorators):
            named = re.search(r"name='([\w-]+)'", " ".join(decorators))
            name = named[1] if named else function.name
            names.add(name)
            if any("nox.parametrize('backend'" in text for text in decorators):
                names |= {f"{name}({backend})" for backend in ("jax", "tensorflow", "torch")}
    return names


def named_sessions(text: str) -> set[str]:
    """Return what a file runs with nox: `nox -s docs browser`, or the matrix of a workflow."""
    found = set()
    for line in text.splitlines():
        if re.search(r'sessions?: [\["]', line):  # of a matrix: a text may name several
            line = re.sub(r"python: .*", "", line)
            found |= {word for text in re.findall(r'"([^"]+)"', line) for word in text.split()}
        if run := re.search(r"(?:^|entry: |run: )\s*nox (?:-s )?(.*)", line):
            words = run[1].split(" -- ")[0].replace('"', "").split()
            found |= {word for word in words if re.fullmatch(r"[\w()-]+", word)}
    return found


FILES = [*WORKFLOWS, ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_sessions_exist(path):
    named = named_sessions(path.read_text(encoding="utf-8"))
    assert named <= sessions()
    assert named or "nox" not in path.read_text(encoding="utf-8"), "the pattern finds none"


def default_sessions() -> set[str]:
    """Return the sessions of plain `nox`."""
    for node in NOXFILE.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "nox.options.sessions":
            return set(ast.literal_eval(node.value))
    raise AssertionError("noxfile.py names no default sessions")


def test_local_and_remote_runs_are_the_same():
    """.ci/run and the workflow of every change run the same sessions."""
    script = (ROOT / ".ci" / "run").read_text()
    commands = [line.partition(" -- ")[0] for line in script.splitlines() if line.startswith("nox")]
    lines = [shlex.split(command.removesuffix("&")) for command in commands]
    assert ["nox"] in lines
    local = default_sessions() | {session for line in lines for session in line[2:]}
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    entries = json.loads(re.search(r"sessions: (\[.*?\])", workflow, re.DOTALL).group(1))
    remote = {session for entry in entries for session in entry.split()}
    assert {f"tests({backend})" for backend in ("jax", "tensorflow", "torch")} <= remote
    assert remote == local


def test_named_sessions_are_found():
    matrix = 'sessions: ["a(jax)", "b c"]\n- {session: "d", python: "3.12"}\n'
    text = f'{matrix}- run: nox -s "e" f -- g\n'
    assert named_sessions(text) == set("bcdef") | {"a(jax)"}


def package(folder: Path, name: str, version: str) -> Path:
    source = folder / name / "src" / name
    source.mkdir(parents=True)
    (source / "_version.py").write_text(f'__version__ = "{version}"\n')
    (folder / name / "pyproject.toml").write_text('[project]\nname = "a"\n\n[tool.x]\ny = 1\n')
    return folder / name / "pyproject.toml"


def test_a_release_knows_its_repository(tmp_path):
    project = package(tmp_path, "one", "1.2")
    for _ in range(2):  # twice is as good as once
        release.prepare(tmp_path, "v1.2", "https://host/owner/name")
    content = tomllib.loads(project.read_text())
    assert content["project"]["urls"]["Issues"] == "https://host/owner/name/issues"
    assert content["tool"] == {"x": {"y": 1}}


def test_a_release_has_one_version(tmp_path):
    package(tmp_path, "one", "1.2")
    package(tmp_path, "two", "1.3")
    with pytest.raises(SystemExit, match=r"two has version 1\.3, the tag is v1\.2"):
        release.prepare(tmp_path, "v1.2", "https://host/owner/name")


def test_sites_of_several_versions(tmp_path):
    site, pages = tmp_path / "site", tmp_path / "pages"
    site.mkdir()
    (site / "index.html").write_text("first")
    site_versions.add(site, pages, "main")
    assert 'href="dev/index.html"' in (pages / "index.html").read_text()
    for tag in ("v0.9.0", "v0.10.0", "v0.11.0rc1"):
        site_versions.add(site, pages, tag)
    (site / "index.html").write_text("second")
    site_versions.add(site, pages, "main")
    versions = json.loads((pages / "versions.json").read_text())
    assert [entry["version"] for entry in versions] == ["0.11.0rc1", "0.10.0", "0.9.0", "dev"]
    assert [entry["version"] for entry in versions if "latest" in entry["aliases"]] == ["0.10.0"]
    assert 'href="0.10.0/index.html"' in (pages / "index.html").read_text()
    assert (pages / "dev" / "index.html").read_text() == "second"
    assert (pages / "0.9.0" / "index.html").read_text() == "first"
