"""The wheel: it installs, is typed, and needs keras and numpy alone."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
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
    assert "attn_core/layers/gates/_se.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    top = {name.partition("/")[0] for name in names if "dist-info" not in name}
    assert top == {"attn_core", "attn_command.py"}
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


PACKAGES = ["attn-core", "attn-tf"]
BUILD = """
import os, sys
from hatchling.build import build_sdist, build_wheel
os.chdir(sys.argv[1])
print(build_wheel(sys.argv[2]), build_sdist(sys.argv[2]))
"""


def built(source, folder, time) -> dict[str, bytes]:
    """Return wheel and sdist of a copy of a package whose files are as old as `time`."""
    copy, target = folder / "copy", folder / "built"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*copy.rglob("*"), copy]:
        os.utime(path, (time, time))
    target.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    command = [sys.executable, "-c", BUILD, copy, target]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return {path.name: path.read_bytes() for path in target.iterdir()}


@pytest.fixture(scope="module", params=PACKAGES)
def twice(request, tmp_path_factory):
    source = SOURCE.parent / request.param
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second-folder")]
    times = (10**9, 1.7 * 10**9)
    return request.param, [built(source, *one) for one in zip(folders, times, strict=True)]


def test_same_bytes_twice(twice):
    _, (first, second) = twice
    assert sorted(name.rpartition(".")[2] for name in first) == ["gz", "whl"]
    assert first.keys() == second.keys()
    for name, content in first.items():
        assert content == second[name], name


def test_contents_of_both(twice):
    """The sources, the licence, nothing else: no tests, no caches, no pictures."""
    package, (files, _) = twice
    module = package.replace("-", "_")
    source = SOURCE.parent / package / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    wheel, sdist = (files[name] for name in sorted(files, key=lambda name: name.endswith("gz")))
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = {name.partition("/")[2] for name in archive.namelist() if ".dist-info/" in name}
    assert names == modules | {f"{module}/py.typed"}
    assert {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE"} <= about
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    extra = {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert names - extra == {f"src/{name}" for name in (*modules, f"{module}/py.typed")}
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
