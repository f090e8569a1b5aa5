"""The examples run, at the size of a test, and print what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

PRINTED = {
    "add_cbam_to_resnet": ("Parameters: 17,514 before", "Accuracy on unseen digits"),
    "compare_gates": ("none", "SE", "CBAM"),
    "coatnet_from_scratch": ("CoAtNet of", "At 96 x 96"),
    "load_checkpoint": ("computed by NumPy", "missing: fc.0.bias"),
    "visualize_attention": ("gates [(2, 1, 1, 32), (2, 16, 24, 1)]", "flower.png"),
    "distributed_training": ("cpu:3", "on 4 devices, a copy on each: equal"),
}
"""Words of what each example prints."""


def test_every_example_is_tested_and_listed():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == set(PRINTED)
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"[`{name}.py`]({name}.py)" in readme for name in names)


def marked(name):
    """Return the name of an example; the one of JAX alone runs there."""
    alone = name == "distributed_training"
    return pytest.param(name, marks=[pytest.mark.every_backend] if alone else [])


@pytest.mark.parametrize("name", [marked(name) for name in PRINTED])
def test_example(name, tmp_path):
    if name == "distributed_training" and keras.config.backend() != "jax":
        pytest.skip("keras.distribution works on JAX")
    result = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", "--quick"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": keras.config.backend()},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    for words in PRINTED[name]:
        assert words in result.stdout
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
