"""The wheel: it installs, is typed, and needs keras and numpy alone."""

import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import keras
import pytest

SOURCE = Path(__file__).parents[1] / "packages" / "attn-core"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, SOURCE], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("METADATA"))
        message = message_from_bytes(archive.read(metadata))
    assert "attn_core/py.typed" in names
    assert "attn_core/layers/gates/se.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"attn_core"}
    needed = [line for line in message.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in needed) == ["keras", "numpy"]
    extras = {"tensorflow", "jax", "torch", "safetensors", "demo"}
    assert extras <= set(message.get_all("Provides-Extra"))


def test_installed_wheel_works(wheel, tmp_path):
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target"]
    subprocess.run([*command, target, wheel], check=True, capture_output=True)
    code = (
        "import numpy as np, attn_core; print(attn_core.__file__); "
        "print(attn_core.SEAttention()(np.ones((1, 2, 2, 4))).shape)"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    environment["KERAS_BACKEND"] = keras.config.backend()
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert str(target) in result.stdout
    assert "1, 2, 2, 4" in result.stdout
