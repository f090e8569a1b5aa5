"""Importing attn_tf: on TensorFlow alone, without effects; the examples of its docstrings."""

import doctest
import importlib
import json
import os
import pkgutil
import subprocess
import sys

import attn_tf
import keras
import pytest
from attn_tf import _backend

pytestmark = pytest.mark.every_backend  # these run on TensorFlow alone


def test_another_backend_is_refused_with_advice(monkeypatch):
    """Played: where TensorFlow is installed alone, Keras runs on nothing else."""
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ImportError) as caught:
        importlib.reload(_backend)
    message = str(caught.value)
    assert "attn_tf needs Keras to run on TensorFlow. Received: Keras on 'jax'" in message
    assert "export KERAS_BACKEND=tensorflow" in message


def test_import_changes_nothing_and_tune_may_be_called_twice():
    """One process: what it costs is TensorFlow's import."""
    code = """
import json, os
import keras
import tensorflow as tf
from tensorflow.python.eager import context

def state():
    return [dict(os.environ), keras.config.dtype_policy().name, tf.config.optimizer.get_jit(),
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.experimental.tensor_float_32_execution_enabled(),
            context.context()._initialized]

before = state()
import attn_tf
same = before == state() and not before[-1]
first = attn_tf.tune(threads=2, verbose=False)
started = context.context()._initialized
again = attn_tf.tune(threads=2, verbose=False)
tf.constant(1.0)
running = attn_tf.tune(threads=2)
late = attn_tf.tune(threads=1, verbose=False)
print()
print(json.dumps([same, started, first == again == running, first["intra_op_threads"],
                  late["inter_op_threads"], late.settings[-1].reason]))
"""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    same, started, harmless, threads, still, reason = json.loads(result.stdout.splitlines()[-1])
    assert same
    assert not started
    assert harmless
    assert (threads, still) == (2, 2)
    assert reason.startswith("too late")
    assert "intra_op_threads  2" in result.stdout


@pytest.mark.parametrize("name", [one.name for one in pkgutil.iter_modules(attn_tf.__path__)])
def test_examples(name):
    module = importlib.import_module(f"attn_tf.{name}")
    assert doctest.testmod(module).failed == 0


def test_public_names():
    assert {"GlobalFilter", "GFNet", "GFNetPyramid", "tune", "export"} <= set(attn_tf.__all__)
    for name in ("GlobalFilter", "GFNet", "GFNetPyramid"):
        registered = keras.saving.get_registered_name(getattr(attn_tf, name))
        assert registered == f"attn_tf>{name}"
