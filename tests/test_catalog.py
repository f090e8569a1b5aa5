"""The catalog: complete, consistent with the layers, and what the README shows."""

import inspect
import re
from pathlib import Path

import attn_core
import keras
import pytest
from attn_core import catalog, layers
from attn_core.catalog import LAYERS, MECHANISMS

from scripts.tables import markdown, readme

ROOT = Path(__file__).parents[1]


def test_mechanisms_are_numbered():
    assert [m.number for m in MECHANISMS] == list(range(1, 1 + len(MECHANISMS)))
    assert len({m.key for m in MECHANISMS}) == len(MECHANISMS)


def test_every_layer_is_listed_once_and_public():
    listed = [name for m in MECHANISMS for name in m.layers]
    assert len(set(listed)) == len(listed)
    for name in listed:
        assert getattr(attn_core, name) is getattr(layers, name)


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: m.key)
def test_entry(mechanism):
    assert mechanism.input in ("image", "token", "image or token")
    assert mechanism.summary.endswith(".")
    assert bool(mechanism.title) == bool(mechanism.paper_url) == bool(mechanism.authors)
    principal = getattr(layers, mechanism.principal)
    assert principal.__module__.split(".")[2] == mechanism.family
    for name in mechanism.layers:
        layer = getattr(layers, name)
        assert layer.__module__.split(".")[:3] == ["attn_core", "layers", LAYERS[name].family]
        assert keras.saving.get_registered_name(layer) == f"attn_core>{name}"
        documentation = inspect.getdoc(layer)
        for section in (
            "Args:",
            "Call arguments:",
            "Returns:",
            "Raises:",
            "Example:",
            "Reference:",
        ):
            assert section in documentation, (name, section)
        assert re.search(r"Differs from the [\w-]+:", documentation), name
        if mechanism.arxiv:
            assert mechanism.arxiv in documentation, name


@pytest.mark.parametrize(
    ("name", "key"),
    [("se", "se"), ("SENet", "se"), ("seattention", "se"), ("CBAM", "cbam"), ("volo", "outlook")],
)
def test_find(name, key):
    assert catalog.find(name).key == key


def test_no_name_is_ambiguous():
    seen = {}
    for m in MECHANISMS:
        for name in {n.casefold() for n in (m.key, m.name, *m.layers, *m.other_names)}:
            assert seen.setdefault(name, m.key) == m.key, name
    assert catalog.find("no such thing") is None


def shown_in_readme():
    """Return the list of mechanisms in README.md, and the layers that it names."""
    shown = markdown.between((ROOT / "README.md").read_text(), "readme")
    return shown, re.findall(r"`(\w+)`", shown)


def test_readme_shows_the_catalog():
    """The list may lag behind a new mechanism, but what is there is what would be written."""
    shown, names = shown_in_readme()
    assert len(names) == len(set(names)) >= 0.8 * len(LAYERS)
    assert set(names) <= set(LAYERS)
    assert shown == readme.text(names), "run nox -s tables"


def test_readme_lists_layers_by_their_folder():
    _, _, after = readme.text().partition("| **Blocks of convolution and attention** |")
    family, _, _ = after.partition("| **")
    names = set(re.findall(r"`(\w+)`", family))
    assert names == {"MBConv", "MobileViTBlock", "MobileViTv2Block"}


def test_published():
    assert catalog.get("se").published == "CVPR 2018, first published in 2017"
    assert catalog.get("cbam").published == "ECCV 2018"
    assert catalog.get("polarized").published == "2021"
