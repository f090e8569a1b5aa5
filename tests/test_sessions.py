""".ci/run and the workflow of every change run the same sessions of nox."""

import ast
import json
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]


def defaults() -> set[str]:
    """Return the sessions of plain `nox`, as noxfile.py sets them."""
    for node in ast.walk(ast.parse((ROOT / "noxfile.py").read_text())):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "nox.options.sessions":
            return set(ast.literal_eval(node.value))
    raise AssertionError("noxfile.py names no default sessions")


def test_local_and_remote_runs_are_the_same():
    script = (ROOT / ".ci" / "run").read_text()
    lines = [shlex.split(line) for line in script.splitlines() if line.startswith("nox")]
    assert ["nox"] in lines
    local = defaults() | {session for line in lines for session in line[2:]}
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    entries = json.loads(re.search(r"sessions: (\[.*?\])", workflow, re.DOTALL).group(1))
    remote = {session for entry in entries for session in entry.split()}
    assert {f"tests({backend})" for backend in ("jax", "tensorflow", "torch")} <= remote
    assert remote == local
