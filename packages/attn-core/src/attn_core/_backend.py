"""Which of Keras' backends is configured, and which are installed. Imports none of them."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

BACKENDS = ("jax", "tensorflow", "torch")
"""The backends that attn-core is tested on, in the order in which the command prefers them."""


def installed_backends() -> list[str]:
    """Return the installed backends, without importing them."""
    return [name for name in BACKENDS if find_spec(name) is not None]


def configured_backend() -> tuple[str, str]:
    """Return the backend that `import keras` will choose, and what made that choice."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "the environment variable KERAS_BACKEND"
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    config = home / "keras.json"
    try:
        return json.loads(config.read_text())["backend"], str(config)
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow", "Keras' default"


def require_backend() -> None:
    """Raise an ImportError that says what to type where the configured backend is missing.

    Keras' own message in that case is "No module named 'tensorflow'", which does not tell a user
    of JAX or PyTorch what to do.
    """
    if "keras" in sys.modules:
        return
    backend, origin = configured_backend()
    if backend not in BACKENDS or find_spec(backend) is not None:
        return
    found = installed_backends()
    if found:
        advice = (
            f"Installed: {', '.join(found)}. Choose one before Keras is imported:\n\n"
            f"    export KERAS_BACKEND={found[0]}\n\n"
            "(in Python: import os; "
            f'os.environ["KERAS_BACKEND"] = "{found[0]}", above every other import)'
        )
    else:
        advice = 'No backend is installed. Install one:\n\n    pip install "attn-core[jax]"'
    raise ImportError(
        f"Keras is configured to use {backend!r} (by {origin}), which is not installed. {advice}"
    )


def started_by_command() -> bool:
    """Whether the entry point of the `attn` command, or `python -m attn_core`, runs this process.

    The command chooses a backend before it loads Keras.
    """
    return "attn_command" in sys.modules or _runs_module("attn_core")


def _runs_module(name: str) -> bool:
    """Whether the interpreter still looks for this module, which it was told to run by `-m`."""
    if sys.argv[:1] != ["-m"]:
        return False
    following = dict(zip(sys.orig_argv, sys.orig_argv[1:], strict=False)).get("-m")
    return following == name or f"-m{name}" in sys.orig_argv
