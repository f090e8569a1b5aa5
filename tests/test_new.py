"""The skeleton of a new mechanism, in a copy of the tree: it can be imported, and has its style."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("packages", "scripts", "benchmarks", "CHANGELOG.md", "pyproject.toml")
USE = """
import numpy as np
from attn_core import RingGate, catalog, layers
assert layers.RingGate is RingGate
print(catalog.get("ring-gate").number, catalog.LAYERS["RingGate"].family)
y, gate = RingGate()(np.ones((2, 3, 3, 4), "float32"), return_attention_scores=True)
assert tuple(y.shape) == (2, 3, 3, 4) and tuple(gate.shape) == (2, 1, 1, 4)
"""

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="the same files on every backend"
)


@pytest.fixture
def tree(tmp_path):
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def python(tree, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(tree / "packages" / "attn-core" / "src")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)


def contents(tree):
    files = (path for path in tree.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(tree)): path.read_text() for path in files}


@pytest.mark.parametrize("family", ["gates", "rings"])
def test_skeleton(tree, family):
    before = contents(tree)
    result = python(tree, "-m", "scripts.new", family, "ring-gate", "RingGate")
    assert result.returncode == 0, result.stderr
    assert "tests/golden/ring_gate__*.npz" in result.stdout
    after = contents(tree)
    changed = {name for name in after if after[name] != before.get(name)}
    package = "packages/attn-core/src/attn_core"
    expected = {
        "CHANGELOG.md",
        f"{package}/catalog/{family}/ring_gate.py",
        f"{package}/layers/{family}/__init__.py",
        f"{package}/layers/{family}/_ring_gate.py",
    }
    if family == "rings":
        names = ("__init__.py", "catalog/rings/__init__.py", "layers/__init__.py")
        expected |= {f"{package}/{name}" for name in names}
    assert changed == expected
    assert all(name in result.stdout for name in expected)

    ruff = python(tree, "-m", "ruff", "check", "--no-cache", ".")
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr
    ruff = python(tree, "-m", "ruff", "format", "--check", "--no-cache", ".")
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr
    used = python(tree, "-c", USE)
    assert used.returncode == 0, used.stderr
    number = 1 + sum(name.count("/") == 6 and "/catalog/" in name for name in before if
                     name.rpartition("/")[2][0] != "_")  # fmt: skip
    assert used.stdout.split() == [str(number), family]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gates", "se", "Unheard"), "'se' is a name of the mechanism 'se'"),
        (("gates", "unheard", "CBAM"), "'CBAM' is a name of the mechanism 'cbam'"),
        (("gates", "un_heard", "Unheard"), "the key must be a name like sim-am"),
        (("gates", "unheard", "unheard"), "the layer must be a name like SimAM"),
        (("../gates", "unheard", "Unheard"), "the family must be a name like gates"),
        (("gates", "unheard"), "required: layer"),
    ],
)
def test_names_that_are_refused(tree, arguments, words):
    before = contents(tree)
    result = python(tree, "-m", "scripts.new", *arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert contents(tree) == before
