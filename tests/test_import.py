"""Importing attn_core: no backend of its own choice, no side effects, a helpful error."""

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import attn_core
import keras
import pytest
from attn_core._backend import BACKENDS, installed_backends

PACKAGE = Path(attn_core.__file__).parent


def run(code, home, backend=None, *options):
    """Run Python code in a process with a home folder of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    environment |= {"HOME": str(home), "KERAS_HOME": str(home / ".keras")}
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    command = [sys.executable, *options, *(["-c", code] if code else [])]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=home, timeout=120
    )


missing = pytest.mark.skipif(
    not set(BACKENDS) - set(installed_backends()), reason="all backends are installed"
)


@missing
def test_missing_backend_is_explained(tmp_path):
    absent = next(name for name in BACKENDS if find_spec(name) is None)
    result = run("import attn_core", tmp_path, absent)
    assert result.returncode == 1
    message = result.stderr.strip()
    assert f"Keras is configured to use '{absent}' (by the environment variable" in message
    assert f"Installed: {', '.join(installed_backends())}" in message
    assert f"export KERAS_BACKEND={installed_backends()[0]}" in message
    assert "ImportError" in message


@missing
def test_missing_backend_of_the_config_file_is_explained(tmp_path):
    absent = next(name for name in BACKENDS if find_spec(name) is None)
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps({"backend": absent}))
    result = run("import attn_core", tmp_path)
    assert result.returncode == 1
    assert "keras.json" in result.stderr
    assert f"export KERAS_BACKEND={installed_backends()[0]}" in result.stderr


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="Keras' default is installed")
def test_default_backend_is_explained(tmp_path):
    result = run("import attn_core", tmp_path)
    assert "'tensorflow' (by Keras' default), which is not installed" in result.stderr


@missing
def test_command_picks_an_installed_backend_and_says_which(tmp_path):
    absent = next(name for name in BACKENDS if find_spec(name) is None)
    code = """
import sys
sys.argv[0] = "attn"
from attn_core.cli.app import use_backend
use_backend(None)
import keras
print(keras.config.backend())
"""
    result = run(code, tmp_path, absent)
    assert result.stdout.strip() == installed_backends()[0], result.stderr
    assert f"Backend: {installed_backends()[0]} ({absent}, by" in result.stderr.replace("\n", " ")


def test_module_runs_as_command(tmp_path):
    result = run(None, tmp_path, "no-backend", "-m", "attn_core", "--version")
    assert result.stdout.strip() == f"attn-core {attn_core.__version__}", result.stderr


def test_import_changes_nothing(tmp_path):
    """No environment variable, no Keras setting, no warning, nothing loaded but our own modules."""
    code = """
import os, sys, json, warnings
import keras
before = (dict(os.environ), set(sys.modules), keras.config.floatx(), keras.config.epsilon(),
          keras.config.image_data_format(), list(warnings.filters))
import attn_core
after = (dict(os.environ), set(sys.modules), keras.config.floatx(), keras.config.epsilon(),
         keras.config.image_data_format(), list(warnings.filters))
new = sorted(name for name in after[1] - before[1] if not name.startswith("attn_core"))
print(json.dumps([before[0] == after[0], before[2:] == after[2:], new]))
"""
    result = run(code, tmp_path, keras.config.backend())
    same_environment, same_settings, new_modules = json.loads(result.stdout.splitlines()[-1])
    assert same_environment
    assert same_settings
    assert new_modules == []


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_no_source_file_imports_a_backend():
    sources = sorted(PACKAGE.rglob("*.py"))
    assert len(sources) > 20
    for path in sources:
        roots = {name.partition(".")[0] for name in imports(path)}
        assert not roots & {"tensorflow", "tf", "jax", "jaxlib", "torch"}, path
        assert "keras.src" not in " ".join(imports(path)), path


def test_imports_run_one_way():
    """Nothing imports what is built on it."""
    order = {"ops": 0, "weights": 1, "layers": 2, "models": 3, "compat": 4, "tools": 5, "cli": 6}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imports(path):
            parts = name.split(".")
            if room in order and parts[0] == "attn_core" and len(parts) > 1 and parts[1] in order:
                assert order[parts[1]] <= order[room], (path, name)
