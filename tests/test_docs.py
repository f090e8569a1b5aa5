"""The documentation: its Python blocks run, every mechanism has a page, nothing loads from afar."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import exported
import flow_drawings
import foreign_resources
import keras
import mechanism_pages
import page_maps
import pytest
from attn_core import catalog, compat, models
from attn_core.catalog import MECHANISMS
from collection_texts import DIFFERENCES
from mechanism_texts import CONFIGS, TEXTS

ROOT = Path(__file__).parents[1]
PAGES = [path for pattern in ("README.md", "docs/*.md", "packages/*/README.md")
         for path in sorted(ROOT.glob(pattern)) if "```python" in path.read_text()]  # fmt: skip
SMALL = {
    'weights="imagenet"': "weights=None",
    'CoAtNet.from_variant("coatnet_0"': "CoAtNet(32, depths=1, image_size=32",
    "resized(384)": "resized(64)",
    'load_torch_weights(model, "coatnet_0.safetensors")': "",
    'GFNet.from_variant("gfnet_ti")': "GFNet(embed_dim=16, depths=2, patch_size=8, image_size=64)",
    "size=(8, 224, 224, 3)": "size=(8, 64, 64, 3)",
    "epochs=20": "epochs=1",
}
"""What the blocks ask for, and what serves as well without files, a network and a large machine."""
ATTN_TF = keras.config.backend() == "tensorflow" and find_spec("attn_tf") is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks(page, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join(blocks)
    if "attn_tf" in code and not ATTN_TF:
        pytest.skip("attn_tf runs on TensorFlow alone, where it is installed")
    for large, small in SMALL.items():
        code = code.replace(large, small)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(page), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda mechanism: mechanism.key)
def test_examples_of_mechanisms(mechanism):
    if keras.config.backend() != "torch":
        pytest.skip("runs where nothing is compiled; nox -s docs runs them on JAX")
    layer = mechanism_pages.new(mechanism.layers[0])
    layer.build((2, *mechanism_pages.input_shape(mechanism.layers[0])))
    printed = mechanism_pages.run(mechanism_pages.example(mechanism))
    assert printed.startswith("output (2, ")
    assert ("\nmap" in printed) == hasattr(layer, "compute_attention_shape")
    assert printed.endswith(f"parameters {layer.count_params()}")
    kept = mechanism_pages.keeps_shape(mechanism.layers[0])
    assert mechanism_pages.run(mechanism_pages.inserted(mechanism)) == (
        "True" if kept else "(None, 80)"
    )


def test_readme_names_every_layer():
    readme = (ROOT / "README.md").read_text()
    assert [name for m in MECHANISMS for name in m.layers if f"`{name}`" not in readme] == []


def test_every_mechanism_has_a_page():
    assert list(TEXTS) == [mechanism.key for mechanism in MECHANISMS]
    assert set(CONFIGS) <= {name for mechanism in MECHANISMS for name in mechanism.layers}
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert re.findall(r"mechanisms/(.*)\.md", navigation) == list(TEXTS)
    for key, text in TEXTS.items():
        assert len(re.findall(r"\.(?= |$)", text.use)) == 2, key  # and the catalog's sentence
        assert text.related, key
        assert key not in text.related, key
        assert set(text.related) <= set(TEXTS), key
        assert set(text.networks) <= set(models.__all__), key


def test_formulas_of_costs():
    counted = mechanism_pages.measured()
    assert counted["se"] == (8192, 8192)
    assert mechanism_pages.tex("2 * C**2 / r") == r"2\,C^2 / r"


def test_wrong_formula(monkeypatch):
    mechanism_pages.measured.cache_clear()
    wrong = TEXTS["external"].__class__(**{**vars(TEXTS["external"]), "parameters": "C * S"})
    monkeypatch.setitem(TEXTS, "external", wrong)
    monkeypatch.setattr(mechanism_pages, "MECHANISMS", MECHANISMS[1:2])
    with pytest.raises(ValueError, match=r"external: C \* S is not 32768"):
        mechanism_pages.measured()


def test_texts_on_the_collection():
    assert list(DIFFERENCES) == list(compat.TABLE)
    for name, (verdict, how) in DIFFERENCES.items():
        assert verdict in ("yes", "in part", "no"), name
        assert how or verdict == "yes", name


def exports(*rows):
    names = ("layer", "backend", "format", "dynamic", "works", "difference", "why")
    return {
        "versions": {"keras": "3.15"},
        "cells": [dict(zip(names, r, strict=True)) for r in rows],
    }


def test_exports(tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "FILE", tmp_path / "exports.json")
    assert exported.support("SEAttention") == {}
    assert exported.table() == ""
    content = exports(
        ("SEAttention", "tensorflow", "onnx", "batch", True, 2e-7, "\x1b[1mPad|\x1b[0m"),
        ("SEAttention", "jax", "onnx", "batch, height, width", True, 3e-7, ""),
        ("SEAttention", "tensorflow", "litert", "batch", False, None, "IRFFT"),
    )
    exported.FILE.write_text(json.dumps(content))
    assert exported.support("SEAttention") == {"ONNX": "JAX, TensorFlow", "LiteRT": "no: `IRFFT`"}
    assert exported.support("CBAM") == {}
    table = exported.table()
    row = "| `SEAttention` |  | JAX (batch, height, width); TensorFlow (batch) | no |"
    assert row in table.splitlines()
    assert "is 3.0e-07. With keras 3.15." in table
    assert "- ONNX from TensorFlow, more left open, `Pad`: `SEAttention`" in table
    assert "- LiteRT from TensorFlow, `IRFFT`: `SEAttention`" in table


def test_page_maps(tmp_path, monkeypatch):
    if keras.config.backend() != "torch":
        pytest.skip("runs where nothing is compiled; nox -s docs makes them on JAX")
    monkeypatch.setattr(page_maps, "FOLDER", tmp_path)
    monkeypatch.setattr(page_maps, "STEPS", 1)
    page_maps.pieces.cache_clear()
    page_maps.main(["halo"])
    page_maps.pieces.cache_clear()
    picture = (tmp_path / "halo.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) <= page_maps.LIMIT

    monkeypatch.setattr(mechanism_pages, "MAPS", tmp_path)
    halo, no_map = catalog.get("halo"), catalog.get("vip")
    text = mechanism_pages.seen(halo)
    assert "HaloAttention on two photographs: weight of each position for the query, fram" in text
    assert "of 162 pieces" in text
    assert mechanism_pages.seen(no_map) == ""
    assert no_map not in page_maps.mechanisms()

    monkeypatch.setattr(page_maps, "drawn", lambda mechanism: (b"anew", {"accuracy": 1.0}))
    page_maps.main(["halo"])
    assert (tmp_path / "halo.png").read_bytes() == picture  # nothing has changed
    monkeypatch.setitem(page_maps.OWN, "halo", {"block_size": 3})
    page_maps.main(["halo"])
    assert (tmp_path / "halo.png").read_bytes() == b"anew"


@pytest.mark.parametrize("key", TEXTS)
def test_drawing(key):
    chains = flow_drawings.parse(TEXTS[key].flow)
    row = flow_drawings.rows(chains)
    column, _ = flow_drawings.columns(chains, row)
    assert row["x"] == 0
    assert row["y"] == max(row.values())
    assert len({(row[step], column[step]) for step in row}) == len(row)  # no two in one place
    drawing = flow_drawings.draw(key, TEXTS[key].flow)
    assert drawing.count('class="line"') == drawing.count('class="head"')
    lines = re.findall(r"<text[^>]*>([^<]*)</text>", drawing)
    assert max(map(len, lines)) <= flow_drawings.LETTERS


def test_lines_that_overlap_lie_apart():
    chains = flow_drawings.parse(("x -> a -> b -> c -> d -> y", "x -> b", "b -> d", "c -> y"))
    assert flow_drawings.columns(chains, flow_drawings.rows(chains))[1] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (("x -> a -> y", "b -> y"), "known step"),
        (("x -> a -> y", "x -> b"), "lead to y"),
        (("x -> a -> b -> y", "b -> a"), "circle"),
    ],
)
def test_flow_that_cannot_be_drawn(flow, words):
    with pytest.raises(ValueError, match=words):
        flow_drawings.draw("it", flow)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ('<a href="https://arxiv.org">paper</a><link rel="canonical" href="https://a.b">', []),
        ('<script src="local.js"></script><img src="data:image/png;base64,AA==">', []),
        ('<script src="https://cdn.org/a.js"></script>', ["https://cdn.org/a.js"]),
        ('<link rel="stylesheet" href="//cdn.org/a.css">', ["//cdn.org/a.css"]),
        ('<img srcset="a.png, https://b.org/a.png 2x">', ["https://b.org/a.png 2x"]),
        ("<style>@import 'https://b.org/a.css';</style>", ["https://b.org/a.css"]),
        ('<p style="background: url(http://b.org/a.png)"></p>', ["http://b.org/a.png"]),
    ],
)
def test_foreign_resources(text, addresses, tmp_path, capsys):
    (tmp_path / "index.html").write_text(text)
    assert foreign_resources.foreign_resources(tmp_path / "index.html") == addresses
    assert foreign_resources.main(tmp_path) == bool(addresses)
    assert all(address in capsys.readouterr().out for address in addresses)


def test_no_site(tmp_path, capsys):
    assert foreign_resources.main(tmp_path) == 1
