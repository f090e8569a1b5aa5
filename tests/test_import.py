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
import attn_command
from attn_core._cli.app import use_backend
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


SETTINGS = """
import json, logging, os, random, sys, warnings
import keras, numpy as np
from keras.src.random.seed_generator import global_seed_generator
keras.utils.set_random_seed(7)
seeds = global_seed_generator().state

def settings():
    config = keras.config
    found = {
        "environment": dict(os.environ),
        "warnings": [repr(one) for one in warnings.filters],
        "logging": {name: logging.getLogger(name).level for name in ("", "keras", "absl")},
        "handlers": len(logging.getLogger().handlers),
        "Keras": [config.floatx(), config.epsilon(), config.image_data_format(), config.backend(),
                  config.dtype_policy().name, config.is_traceback_filtering_enabled(),
                  config.is_interactive_logging_enabled(), config.is_flash_attention_enabled()],
        "generators": [hash(random.getstate()), str(np.random.get_state()),
                       keras.ops.convert_to_numpy(seeds).tolist()],
        "error state": np.geterr(),
        "print options": str(np.get_printoptions()),
        "path": sys.path,
        "folder": os.getcwd(),
    }
    if config.backend() == "torch":
        import torch
        found["torch"] = [torch.get_num_threads(), str(torch.get_default_dtype()),
                          torch.is_grad_enabled(), hash(bytes(torch.get_rng_state().tolist()))]
    if config.backend() == "tensorflow":
        import tensorflow as tf
        found["tensorflow"] = [tf.config.functions_run_eagerly(), tf.config.optimizer.get_jit(),
                               tf.executing_eagerly()]
    if config.backend() == "jax":
        import jax
        found["jax"] = [jax.config.jax_enable_x64, str(jax.config.jax_default_matmul_precision)]
    if "matplotlib" in sys.modules:
        import matplotlib
        found["matplotlib"] = [matplotlib.get_backend(auto_select=False),
                               sorted((k, str(v)) for k, v in dict.items(matplotlib.rcParams))]
    return json.dumps(found, sort_keys=True, default=str)
"""
"""What a process shares between all that runs in it."""


@pytest.mark.every_backend
def test_import_changes_nothing(tmp_path):
    """No setting of the process, nothing loaded but our own modules."""
    code = f"""{SETTINGS}
before, modules = settings(), set(sys.modules)
import attn_core
new = sorted(name for name in set(sys.modules) - modules if not name.startswith("attn_core"))
print(json.dumps([before, settings(), new]))
"""
    result = run(code, tmp_path, keras.config.backend())
    before, after, new_modules = json.loads(result.stdout.splitlines()[-1])
    assert json.loads(after) == json.loads(before)
    assert new_modules == []


def test_use_changes_nothing(tmp_path):
    """Nor does what the package is used for; PyTorch's compiler sets variables of its own."""
    code = f"""{SETTINGS}
import attn_core, matplotlib
inputs = keras.Input((8, 8, 3))
x = keras.layers.Conv2D(4, 3, padding="same", name="stem", data_format="channels_last")(inputs)
attention = attn_core.SEAttention(2, name="se", data_format="channels_last")
model = keras.Model(inputs, attention(x))
images = np.zeros((1, 8, 8, 3), "float32")
state = {{"fc.0.weight": np.ones((2, 4)), "fc.2.weight": np.ones((4, 2))}}
model(images)
attn_core.profile(model, (1, 8, 8, 3), modes=("eager",), seconds=0)
before = settings()
found = []
for name, action in {{
    "attention_maps": lambda: attn_core.attention_maps(model, images),
    "visualize": lambda: attn_core.visualize(model, images[0], data_format="channels_last"),
    "profile": lambda: attn_core.profile(model, (1, 8, 8, 3), modes=("eager",), seconds=0),
    "load_torch_weights": lambda: attn_core.load_torch_weights(attention, state),
    "errors": lambda: attn_core.load_torch_weights(attention, {{}}),
    "inference": lambda: model(images, training=False),
}}.items():
    try:
        action()
    except ValueError:
        assert name == "errors"
    found.append([name, settings()])
keras.utils.set_random_seed(7)
changed = attn_core.insert_attention(model, "SEAttention", "stem")  # draws weights, as Keras does
keras.utils.set_random_seed(7)
found.append(["insert_attention", settings()])
print(json.dumps([before, found]))
"""
    result = run(code, tmp_path, keras.config.backend())
    assert result.returncode == 0, result.stderr
    before, found = json.loads(result.stdout.splitlines()[-1])
    assert len(found) == 7
    for name, after in found:
        before, after = json.loads(before), json.loads(after)
        if name == "insert_attention":
            before.pop("generators"), after.pop("generators")
        assert after == before, name
        before = json.dumps(before)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_source_file_imports_a_backend():
    sources = sorted(PACKAGE.rglob("*.py"))
    assert len(sources) > 20
    for path in sources:
        roots = {name.partition(".")[0] for name in imports(path)}
        # A backend's own operations, imported on that backend alone.
        own = {path.stem.removeprefix("kernels_")} if path.parent.name == "_ops" else set()
        assert not roots & {"tensorflow", "tf", "jax", "jaxlib", "torch"} - own, path
        assert "keras.src" not in " ".join(imports(path)), path


def test_imports_run_one_way():
    """Nothing imports what is built on it."""
    rooms = (
        *("catalog", "_ops", "_weights", "layers", "models", "compat"),
        *("distribution", "_tools", "_cli"),
    )
    order = {room: place for place, room in enumerate(rooms)}
    seen = set()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imports(path):
            parts = name.split(".")
            if room in order and parts[0] == "attn_core" and len(parts) > 1 and parts[1] in order:
                seen.add((room, parts[1]))
                assert order[parts[1]] <= order[room], (path, name)
    assert {room for room, _ in seen} == set(rooms)


def public(module):
    """Return the public names of a module."""
    return {name for name in vars(module) if not name.startswith("_")}


def test_the_users_file_of_the_type_checkers_names_everything():
    """A new layer need not be named there: a file that constructs all of them is generated."""
    source = (Path(__file__).parent / "typing" / "user.py").read_text()
    nodes = list(ast.walk(ast.parse(source)))
    imported = {
        (node.module, alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    used = {
        (node.value.id, node.attr)
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    known = public(attn_core) - set(attn_core.catalog.LAYERS)
    assert {("attn_core", name) for name in known} <= imported
    networks = {
        name for name in public(attn_core.models) if isinstance(vars(attn_core.models)[name], type)
    }
    assert {("attn_core.models", name) for name in networks} <= imported
    assert {("compat", name) for name in attn_core.compat.__all__} <= used


@pytest.mark.parametrize("name", ["attn", "attn.py"])
def test_a_script_may_be_named_as_the_command(tmp_path, name):
    """The command starts from `attn_command`; a file that is named `attn` is a script of a user."""
    script = tmp_path / name
    script.write_text("import attn_core; print(attn_core.SEAttention.__name__)")
    result = run(None, tmp_path, keras.config.backend(), script)
    assert result.stdout.strip() == "SEAttention", result.stderr


def test_the_command_loads_no_backend_to_list(tmp_path):
    code = """
import sys
import attn_command
sys.argv = ["attn", "list"]
try:
    attn_command.main()
except SystemExit:
    assert "keras" not in sys.modules
"""
    result = run(code, tmp_path, "no-backend")
    assert "SEAttention" in result.stdout, result.stderr
    assert result.returncode == 0, result.stderr
