"""The documentation: its Python blocks run, pages are made, nothing loads from another host."""

import inspect
import json
import re
import runpy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from attn_core import catalog, compat
from attn_core.catalog import MECHANISMS

from scripts.checks import foreign_resources
from scripts.site import (
    export_support,
    flow_drawings,
    gather,
    map_pictures,
    mechanism_pages,
    playground,
    weights,
)
from scripts.site.collection_verdicts import PYTORCH, TENSORFLOW
from scripts.tables import __main__ as tables
from scripts.tables import markdown

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
"""What the blocks use, and what replaces it here: without files, downloads and a large machine."""
ATTN_TF = keras.config.backend() == "tensorflow" and find_spec("attn_tf") is not None


def marked(page):
    """Return a page; those on attn_tf run on TensorFlow, where alone they can."""
    alone = "attn_tf" in page.read_text()
    marks = [pytest.mark.every_backend] if alone else []
    if page.name == "compare.md":  # it measures every layer; test_compare.py does that for two
        marks = [pytest.mark.thorough]
    return pytest.param(page, marks=marks, id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize(
    "page", [marked(page) for page in PAGES], ids=lambda page: str(page.relative_to(ROOT))
)
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
        pytest.skip("the same Python on every backend: it runs on the fastest")
    layer = mechanism_pages.new(mechanism.principal)
    layer.build((2, *mechanism_pages.input_shape(mechanism.principal)))
    printed = mechanism_pages.run(mechanism_pages.example(mechanism))
    assert printed.startswith("output (2, ")
    assert ("\nmap" in printed) == bool(layer.maps)
    assert "parameters" not in printed  # the table of costs has them: trainable, and statistics
    kept = mechanism_pages.keeps_shape(mechanism.principal)
    assert mechanism_pages.run(mechanism_pages.inserted(mechanism)) == (
        "True" if kept else "(None, 80)"
    )


def test_the_tests_of_user_situations_exist():
    page = (ROOT / "docs/situations.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert named <= set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))


def test_navigation():
    settings = gather.settings()
    listed = re.findall(r"^          - mechanisms/(.*)\.md$", settings, re.MULTILINE)
    assert sorted(listed) == sorted(mechanism.key for mechanism in MECHANISMS)
    for family in catalog.FAMILIES.values():
        assert f"      - {family.title}:\n          - mechanisms/" in settings
    assert "$" not in settings


def test_counts_of_the_home_page(tmp_path, monkeypatch):
    """They come from the catalog and from the networks, in the place of marks."""
    names = runpy.run_path(str(ROOT / "tests" / "networks.py"))["PARAMETERS"]
    assert list(gather.COUNTS.values()) == [len(MECHANISMS), len(names)]
    monkeypatch.setattr(gather, "TARGET", tmp_path)
    (tmp_path / "index.md").write_text((ROOT / "docs/index.md").read_text())
    for mark, count in gather.COUNTS.items():
        gather.put("index.md", mark, str(count))
    written = (tmp_path / "index.md").read_text()
    assert f"{len(MECHANISMS)} attention mechanisms" in written
    assert f"and {len(names)} networks" in written
    with pytest.raises(ValueError, match="has no"):
        gather.put("index.md", "<!-- networks -->", "16")


def test_texts_of_records():
    keys = [mechanism.key for mechanism in MECHANISMS]
    for mechanism in MECHANISMS:
        key = mechanism.key
        assert len(re.findall(r"\.(?= |$)", mechanism.use)) == 2, key  # and the summary
        assert mechanism.related, key
        assert key not in mechanism.related, key
        assert set(mechanism.related) <= set(keys), key
        assert set(mechanism.networks) <= set(gather.NETWORKS), key


def test_formulas_of_costs():
    counted = mechanism_pages.measured()
    assert counted["se"] == (8192, 8192)
    assert mechanism_pages.tex("2 * C**2 / r") == r"2\,C^2 / r"


def test_costs_of_every_layer():
    """Parameters and statistics apart, for each layer and not the principal ones alone."""
    rows = mechanism_pages.every_layer().splitlines()[2:]
    assert [re.match(r"\| \[`(\w+)`\]", row)[1] for row in rows] == list(catalog.LAYERS)
    (cbam,) = (row for row in rows if "`CBAM`" in row)
    assert "(mechanisms/cbam.md) | 8,564 | 2 | 35,592 |" in cbam


def test_wrong_formula(monkeypatch):
    mechanism_pages.measured.cache_clear()
    wrong = replace(MECHANISMS[1], parameters="C * S")
    monkeypatch.setattr(mechanism_pages, "MECHANISMS", [wrong])
    with pytest.raises(ValueError, match=r"external: C \* S is 16384, not 32768"):
        mechanism_pages.measured()


def test_texts_on_the_collections():
    assert list(TENSORFLOW) == list(compat.TENSORFLOW)
    assert list(PYTORCH) == [*compat.TENSORFLOW, *compat.PYTORCH]
    for name, (verdict, how) in (*TENSORFLOW.items(), *PYTORCH.items()):
        assert verdict in ("yes", "in part", "no"), name
        assert how or verdict == "yes", name


def test_collections_side_by_side():
    rows = [row for mechanism in MECHANISMS for row in gather.in_collections(mechanism)]
    expected = [
        *(["TensorFlow", f"`{name}`"] for name in TENSORFLOW),
        *(["PyTorch", f"`{name}`"] for name in PYTORCH),
    ]
    assert sorted(row[:2] for row in rows) == sorted(expected)  # each once
    page = gather.old_names()
    lacks, skip = TENSORFLOW["ParNetAttention"][1], PYTORCH["ParNetAttention"][1]
    assert f"| `ParNetAttention` | no: {lacks} | no: {skip} |\n" in page
    assert "| `CrissCrossAttention` | not in this collection | yes |\n" in page
    for verdicts in (TENSORFLOW, PYTORCH):
        same = sum(verdict == "yes" for verdict, _ in verdicts.values())
        assert re.search(rf"Of the {len(verdicts)} names for \w+, {same} compute the same", page)


def test_page_of_old_names():
    page = gather.old_names()
    for name in (*compat.TENSORFLOW, *compat.PYTORCH):
        assert page.count(f"\n| `{name}` |") == 1, name  # what it computes there
        assert page.count(f"\n| `{name}(") == 1, name
    assert "channels last for both" in page
    assert (
        "| `CrissCrossAttention(in_dim)` | `CrissCrossAttention` | It has no other argument. |"
        in page.splitlines()
    )


def exports(*rows):
    names = ("layer", "backend", "format", "dynamic", "works", "difference", "why")
    return {
        "versions": {"keras": "3.15"},
        "cells": [dict(zip(names, r, strict=True)) for r in rows],
    }


def test_exports(tmp_path, monkeypatch):
    monkeypatch.setattr(export_support, "FILE", tmp_path / "exports.json")
    assert export_support.support("SEAttention") == {}
    assert export_support.table() == ""
    content = exports(
        ("SEAttention", "tensorflow", "onnx", "batch", True, 2e-7, "\x1b[1mPad|\x1b[0m"),
        ("SEAttention", "jax", "onnx", "batch, height, width", True, 3e-7, ""),
        ("SEAttention", "tensorflow", "litert", "batch", False, None, "IRFFT"),
    )
    export_support.FILE.write_text(json.dumps(content))
    assert export_support.support("SEAttention") == {
        "ONNX": "JAX, TensorFlow",
        "LiteRT": "no: `IRFFT`",
    }
    assert export_support.support("CBAM") == {}
    table = export_support.table()
    row = "| `SEAttention` |  | JAX (batch, height, width); TensorFlow (batch) | no |"
    assert row in table.splitlines()
    assert "is 3.0e-07. Versions: keras 3.15." in table
    assert "- ONNX from TensorFlow, with more dynamic sizes, `Pad`: `SEAttention`" in table
    assert "- LiteRT from TensorFlow, `IRFFT`: `SEAttention`" in table


def test_map_pictures(tmp_path, monkeypatch):
    if keras.config.backend() != "torch":
        pytest.skip("nox -s docs draws them on PyTorch alone")
    pytest.importorskip("onnx")
    monkeypatch.setattr(map_pictures, "FOLDER", tmp_path)
    monkeypatch.setattr(map_pictures, "STEPS", 1)
    monkeypatch.setattr(map_pictures, "LEARNT", 0)
    map_pictures.pieces.cache_clear()
    map_pictures.main(["halo"])
    map_pictures.pieces.cache_clear()
    picture = (tmp_path / "halo.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) <= map_pictures.LIMIT

    halo, no_map = catalog.get("halo"), catalog.get("vip")
    text = mechanism_pages.seen(halo)
    assert "HaloAttention on two photographs: weight of each position for the query, fram" in text
    assert "trained for 1 steps" in text
    assert mechanism_pages.seen(no_map) == ""
    assert no_map not in map_pictures.mechanisms()

    drawn = []
    monkeypatch.setattr(map_pictures, "draw", drawn.append)
    map_pictures.main(["halo"])
    assert not drawn  # nothing has changed
    monkeypatch.setattr(map_pictures, "arguments", lambda mechanism: {"block_size": 3})
    map_pictures.main(["halo"])
    assert drawn == ["halo"]


def test_effect():
    """Of a sum over 3x3 positions: the share of each of the others, and nothing elsewhere."""
    inputs = keras.Input((48, 72, 3))
    last = {"data_format": "channels_last"}
    x = keras.layers.AveragePooling2D(4, name=map_pictures.FEATURES, **last)(inputs)
    ones = {"depthwise_initializer": "ones", "padding": "same", "use_bias": False}
    y = keras.layers.DepthwiseConv2D(3, name="sum", **ones, **last)(x)
    features = np.random.default_rng(0).random((12, 18, 1), dtype="float32").repeat(3, axis=-1)
    image = features.repeat(4, axis=0).repeat(4, axis=1)
    drawing = map_pictures.effect(keras.Model(inputs, y), "sum", image, (23, 40))
    expected = np.zeros((12, 18))
    around = (slice(4, 7), slice(9, 12))
    expected[around] = features[around][..., 0] / features[around][..., 0].sum()
    expected[5, 10] = np.nan
    assert drawing.frame == ((5, 10), (12, 18))
    np.testing.assert_allclose(drawing.panels[""], expected, atol=1e-6)


@pytest.mark.parametrize("key", ["ufo", "vip"])
def test_what_an_output_depends_on(key, tmp_path, monkeypatch):
    """A mechanism without a map, on tokens or on images, has a picture that says what it is."""
    if keras.config.backend() != "torch":
        pytest.skip("nox -s docs draws them on PyTorch alone")
    monkeypatch.setattr(map_pictures, "FOLDER", tmp_path)
    mechanism = catalog.get(key)
    model = map_pictures.network(mechanism)
    monkeypatch.setattr(map_pictures, "trained", lambda mechanism: (model, 1.0))
    map_pictures.draw(key)
    assert (tmp_path / f"{key}.png").read_bytes().startswith(b"\x89PNG")
    text = mechanism_pages.seen(mechanism)
    assert "returns no attention map" in text
    assert f"of {model.count_params():,} parameters" in text
    assert "playground" not in text
    assert f'src="maps/cards/{key}.webp" alt="What the output depends on in ' in (
        mechanism_pages.gallery()
    )
    assert playground.facts() == {}


def test_grids():
    """Agent attention takes square images: its network has as many rows as columns there."""
    for key, size in (("agent", (12, 12)), ("halo", (12, 18))):
        mechanism = catalog.get(key)
        assert map_pictures.grid(mechanism) == size
        assert map_pictures.network(mechanism).get_layer(key).input.shape[1:3] == size


def test_picture_of_a_network_that_did_not_learn(monkeypatch):
    if keras.config.backend() != "torch":
        pytest.skip("nox -s docs draws them on PyTorch alone")
    monkeypatch.setattr(map_pictures, "STEPS", 1)
    monkeypatch.setattr(map_pictures, "LEARNT", 1.1)
    map_pictures.pieces.cache_clear()
    with pytest.raises(RuntimeError, match="se is right in"):
        map_pictures.trained(catalog.get("se"))
    map_pictures.pieces.cache_clear()


def test_table():
    assert markdown.table(["a", "b"], [["x", 1], ["y", 2]], numbers=1) == (
        "| a | b |\n|---|--:|\n| x | 1 |\n| y | 2 |"
    )
    aligned = markdown.table("abc", [["x", 1, "z"]], numbers=1, after=1)
    assert aligned == "| a | b | c |\n|---|--:|---|\n| x | 1 | z |"


def test_fill(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- it: written by `nox -s tables -- it` -->\nold\n<!-- end -->\nafter\n"
    )
    markdown.fill(page, "it", "new")
    assert markdown.between(page.read_text(), "it") == "new"
    assert page.read_text().startswith("before\n<!-- it: ")
    assert page.read_text().endswith("-->\nnew\n<!-- end -->\nafter\n")
    with pytest.raises(ValueError, match="no line"):
        markdown.fill(page, "other", "new")


def test_kept_tables_have_their_marks():
    for name, page in tables.PAGES.items():
        assert markdown.between((ROOT / page).read_text(), name).startswith(("|", "-")), name


ROOMS = ("packages/attn-core/src", "packages/attn-tf/src", "scripts", "tests")
KEPT = re.compile(r"^[a-z_]\w*$")


@pytest.mark.parametrize("room", ROOMS)
def test_architecture_names_every_folder(room):
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = [path for path in (ROOT / room).rglob("*") if path.is_dir()]
    named = {path for path in folders if KEPT.match(path.name) and path.name != "__pycache__"}
    assert named, room
    # The catalog has the folders of layers/ once more.
    missing = {path for path in named if f"{path.name}/" not in text}
    assert not missing


def test_nothing_is_left_to_do():
    """The skeleton of a new mechanism marks with TODO what its author has to write."""
    package = ROOT / "packages" / "attn-core" / "src"
    numpy_files = (ROOT / "docs" / "numpy").glob("*.py")
    texts = [*package.rglob("*.py"), *numpy_files, ROOT / "CHANGELOG.md"]
    assert [str(path) for path in texts if "TODO" in path.read_text()] == []


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda one: one.key)
def test_drawing(mechanism):
    chains = flow_drawings.parse(mechanism.flow)
    row = flow_drawings.rows(chains)
    column, _ = flow_drawings.columns(chains, row)
    assert row["x"] == 0
    assert row["y"] == max(row.values())
    assert len({(row[step], column[step]) for step in row}) == len(row)  # no two in one place
    drawing = flow_drawings.draw(mechanism.name, mechanism.flow)
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


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda one: one.key)
def test_signatures_and_weights(mechanism):
    text = mechanism_pages.signature(mechanism)
    for name in mechanism.layers:
        cls = mechanism_pages.layer_class(name)
        for function in (cls.__init__, cls.call):
            named = list(inspect.signature(function).parameters)[1:]
            for parameter in set(named) - {"data_format"}:  # among **kwargs
                assert re.search(rf"^\| (`.*`, )?`\**{parameter}`", text, re.MULTILINE), parameter
        assert f"{name}(" in text
    assert max(map(len, re.findall(r"^    \w+=?.*,$", text, re.MULTILINE)), default=0) <= 80
    rows = mechanism_pages.weights(mechanism).splitlines()
    without_order = [row for row in rows if re.match(r"\| `\S+` \| (?!1 \|)[^|]+ \|  \|", row)]
    assert not without_order
    for name in mechanism.layers:
        layer = mechanism_pages.new(name)
        layer.build((None, *mechanism_pages.input_shape(name)))
        paths = [f"| `{weight.path.partition('/')[2]}` |" for weight in layer.weights]
        assert all(any(row.startswith(path) for row in rows) for path in paths)
        parts = {part for path in paths for part in re.findall(r"(\w+)/", path)}
        orders = catalog.LAYERS[name].orders
        assert parts & {"qkv", "key_value", "query_key_value"} <= set(orders)


def test_order_within_a_weight():
    """The halo's key and value are one kernel: a head's value does not change its map."""
    layer = mechanism_pages.new("HaloAttention")
    table = weights.weights(layer, (None, 14, 14, 256))
    assert "of each head the key, then the value" in table
    x = np.random.default_rng(0).normal(size=(1, 14, 14, 256)).astype("float32")
    before = keras.ops.convert_to_numpy(layer(x, return_attention_scores=True)[1])
    kernel = keras.ops.convert_to_numpy(layer.key_value.kernel).reshape(256, 8, 2, 32)
    for part, changes in ((0, True), (1, False)):  # the key and the value of head 3
        other = kernel.copy()
        other[:, 3, part] += 1
        layer.key_value.kernel.assign(other.reshape(256, 512))
        after = keras.ops.convert_to_numpy(layer(x, return_attention_scores=True)[1])
        changed = [head for head in range(8) if not np.array_equal(before[:, head], after[:, head])]
        assert changed == [3] * changes


def test_starts_and_names_of_weights():
    layer = mechanism_pages.new("CBAM")
    rows = weights.weights(layer, (None, 14, 14, 256)).splitlines()
    assert (
        "| `squeeze/kernel` | 256 x 16 | (inputs; outputs) | Glorot uniform | "
        "`ChannelGate.mlp.1.weight`, 16 x 256 |" in rows
    )
    assert any(
        "`norm/moving_variance` | 1 | (channel) | 1, a statistic: not trained" in row
        for row in rows
    )
    assert "no weights" in weights.weights(mechanism_pages.new("SimAM"), (None, 14, 14, 256))
