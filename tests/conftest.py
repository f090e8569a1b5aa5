"""Shared fixtures. The backend is the one of the environment: one process, one backend.

A new test runs on PyTorch, the fastest backend: Python behaves alike on all. Mark it with
`pytest.mark.every_backend` if it can fail on one backend alone: because of its numbers, its
compiler, or code of ours for it. Sessions on JAX and TensorFlow run the marked tests
(`-m every_backend`); `nox -s full` runs every test on every backend. A marked test calls a layer
within a compiled function: JAX would otherwise compile each operation by itself.
"""

import gc
import itertools
import json
import os
from pathlib import Path

import bad_input
import host_random
import keras
import pytest

COUNT = itertools.count(1)
BUILD = Path(os.environ.get("ATTN_BUILD", "build"))
host_random.install()


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(1)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


@pytest.fixture(autouse=True)
def _free_memory():
    """Drop what was compiled, now and then: over all tests it would add up to many gigabytes."""
    yield
    if keras.config.backend() == "jax" and next(COUNT) % 100 == 0:
        import jax

        jax.clear_caches()


@pytest.fixture(autouse=True, scope="session")
def _collect_little():
    """Collect the newest garbage alone where Keras asks for it, once for each layer it quantizes.

    With all tests in memory a whole collection takes 0.3 s. Python's own collections stay whole.
    """
    collect = gc.collect
    gc.collect = lambda generation=0: collect(0)
    yield
    gc.collect = collect


def pytest_collection_finish():
    """Leave what is imported and collected out of garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def record_error():
    """Write the errors against a reference vector to build/reference/, for the documentation."""

    def record(layer, case, atol, errors):
        folder = BUILD / "reference" / keras.config.backend()
        folder.mkdir(parents=True, exist_ok=True)
        content = {"layer": layer, "case": case, "atol": atol}
        content["errors"] = {name: float(error) for name, error in errors.items()}
        (folder / f"{case}.json").write_text(json.dumps(content))

    return record


@pytest.fixture
def record_half():
    """Write a layer's error in half precision to build/half/, for the documentation."""

    def record(layer, dtype, error):
        folder = BUILD / "half" / keras.config.backend()
        folder.mkdir(parents=True, exist_ok=True)
        content = {"layer": layer, "dtype": dtype, "error": float(error)}
        (folder / f"{layer}-{dtype}.json").write_text(json.dumps(content))

    return record


def pytest_terminal_summary(terminalreporter):
    """Count the refusals of bad input that passed in build/bad_input/, for the documentation."""
    passed = [report.nodeid for report in terminalreporter.stats.get("passed", ())]
    bad_input.write(BUILD / "bad_input", keras.config.backend(), passed)
