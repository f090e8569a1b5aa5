"""The formulas of costs hold at other sizes and arguments than those of the worked example."""

import base64
import hashlib
import json
import re
import tarfile
from dataclasses import replace

import keras
import numpy as np
import pytest
from attn_core import catalog, layers
from attn_core._tools.profiling import profile
from attn_core.catalog import EXAMPLE, MECHANISMS
from attn_core.layers import ImageLayer
from cost_settings import settings

from scripts.checks import latency
from scripts.site import browser_libraries, field, mechanism_pages


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda one: one.key)
def test_costs(mechanism):
    if keras.config.backend() != "torch":
        pytest.skip("the same Python on every backend: it runs on the fastest")
    cls = getattr(layers, mechanism.principal)
    image = issubclass(cls, ImageLayer)
    for size, options in settings(mechanism, 4):
        given = mechanism.layers[mechanism.principal].arguments(size) | options
        layer = cls(**given, **({"data_format": "channels_last"} if image else {}))
        sides = (size.height, size.width) if image else (size.positions,)
        shape = (1, *sides, size.channels)
        found = profile(layer, shape, modes=())
        counted = (
            found.trainable_parameters,
            found.total_multiply_adds,
            mechanism_pages.map_elements(layer, shape),
        )
        formulas = mechanism.parameters, mechanism.multiply_adds, mechanism.maps
        values = [mechanism.evaluate(formula, size, **options) for formula in formulas]
        rounded = 4 if "log2" in mechanism.multiply_adds else 0  # Fourier transforms, one by one
        np.testing.assert_allclose(values, counted, rtol=0, atol=rounded, err_msg=f"{size} {given}")


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda one: one.key)
def test_options(mechanism):
    """The values of `options` are those of the worked example, and meet `needs`."""
    record = mechanism.layers[mechanism.principal]
    layer = getattr(layers, mechanism.principal)(**record.arguments(EXAMPLE))
    assert dict(mechanism.options) == {name: getattr(layer, name) for name in mechanism.options}
    assert all(mechanism.evaluate(need) for need in mechanism.needs)


def test_trees():
    assert field.tree("-(-H // 2) * max(C, 3)") == [
        "*",
        ["-", ["//", ["-", "H"], 2]],
        ["max", "C", 3],
    ]
    for wrong in ("C if C else 1", "open(C)", "C < 2", "C[0]"):
        with pytest.raises(ValueError, match=f"Received: {re.escape(wrong)} in"):
            field.tree(wrong)


def test_sentences():
    halo = catalog.get("halo")
    assert [field.sentence(halo, need) for need in halo.needs[:2]] == [
        "the channels ({C}) must be divisible by num_heads ({num_heads}).",
        "the height ({H}) must be divisible by block_size ({block_size}).",
    ]
    for mechanism in MECHANISMS:
        for need in mechanism.needs:
            assert field.sentence(mechanism, need).endswith(".")
    with pytest.raises(ValueError, match="no words for"):
        field.sentence(halo, "H * W == log2(C)")


def test_every_formula_is_written(tmp_path):
    field.write(tmp_path / "field.json")
    written = json.loads((tmp_path / "field.json").read_text())
    assert [one["key"] for one in written["mechanisms"]] == [one.key for one in MECHANISMS]


@pytest.mark.parametrize(
    "archive", [b"", b"another archive"], ids=["an empty file", "another archive"]
)
def test_another_archive_of_a_library(tmp_path, monkeypatch, archive):
    monkeypatch.setattr(browser_libraries, "FOLDER", tmp_path / "npm")
    (tmp_path / "archive.tgz").write_bytes(archive)
    with pytest.raises(ValueError, match=r"the archive of d3 .* must have the integrity sha512-"):
        browser_libraries.unpack(browser_libraries.LIBRARIES[0], tmp_path / "archive.tgz")
    assert not (tmp_path / "npm").exists()


def test_files_of_a_library(tmp_path, monkeypatch):
    """All its files are kept, with the licence of the archive or, if it has none, with ours."""
    monkeypatch.setattr(browser_libraries, "FOLDER", tmp_path / "npm")
    with tarfile.open(tmp_path / "archive.tgz", "w:gz") as archive:
        for name in ("dist/a.mjs", "dist/a.wasm", "LICENSE"):
            (tmp_path / "file").write_text(name)
            archive.add(tmp_path / "file", f"package/{name}")
    content = (tmp_path / "archive.tgz").read_bytes()
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"
    about = {"name": "@of/one", "version": "1.0", "integrity": integrity, "licence": "MIT"}
    one = browser_libraries.Library(**about, files=("dist/a.mjs", "dist/a.wasm"), use="a test")
    (tmp_path / "ours.txt").write_text("ours")
    other = replace(one, licence_text=tmp_path / "ours.txt")
    for library, licence in ((one, "LICENSE"), (other, "ours")):
        browser_libraries.unpack(library, tmp_path / "archive.tgz")
        kept = {path.name: path.read_text() for path in (tmp_path / "npm").iterdir()}
        assert kept == {
            "one-1.0.mjs": "dist/a.mjs",
            "one-1.0.wasm": "dist/a.wasm",
            "one-1.0.LICENSE.txt": licence,
        }
        assert library.size == len("dist/a.mjs") + len("dist/a.wasm")


def test_without_npm(tmp_path, monkeypatch):
    monkeypatch.setattr(browser_libraries, "FOLDER", tmp_path / "npm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="install npm"):
        browser_libraries.fetch(browser_libraries.LIBRARIES[0])


def test_measured_times_of_two_backends_join():
    with_torch = latency.merged(None, "torch", {"se": {"forward": 1.0}, "aft": {}}, "a machine")
    both = latency.merged(with_torch, "jax", {"se": {"forward": 2.0}, "aft": {}}, "a machine")
    times = {"torch": {"forward": 1.0}, "jax": {"forward": 2.0}}
    assert both["rows"] == [{"key": "se", "times": times}, {"key": "aft", "times": {}}]
    elsewhere = latency.merged(both, "jax", {"se": {"forward": 3.0}}, "another machine")
    assert elsewhere["rows"] == [{"key": "se", "times": {"jax": {"forward": 3.0}}}]
    section = mechanism_pages.measured_times(both)
    assert "| [Squeeze-and-excitation](mechanisms/se.md) | 2.0 |  | 1.0 |  |" in section
    assert "on a machine, with" in section
