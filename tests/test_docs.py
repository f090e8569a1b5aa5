"""The documentation: its Python blocks run, every mechanism has a page, nothing loads from afar."""

import re
from pathlib import Path

import flow_drawings
import foreign_resources
import keras
import mechanism_pages
import pytest
from attn_core import models
from attn_core.catalog import MECHANISMS
from mechanism_texts import CONFIGS, TEXTS

ROOT = Path(__file__).parents[1]
PAGES = [path for pattern in ("README.md", "docs/*.md", "packages/*/README.md")
         for path in sorted(ROOT.glob(pattern)) if "```python" in path.read_text()]  # fmt: skip
SMALL = {
    'weights="imagenet"': "weights=None",
    'CoAtNet.from_variant("coatnet_0"': "CoAtNet(32, depths=1, image_size=32",
    "resized(384)": "resized(64)",
    'load_torch_weights(model, "coatnet_0.safetensors")': "",
}
"""What the blocks ask for, and what serves as well without files, a network and a large machine."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks(page, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join(blocks)
    if "attn_tf" in code:
        pytest.skip("attn_tf has tests of its own")
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
