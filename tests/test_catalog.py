"""The catalog: complete, consistent with the layers, and what the README shows."""

import importlib.util
import inspect
import re
from pathlib import Path

import attn_core
import keras
import pytest
from attn_core import catalog, layers
from attn_core.catalog import MECHANISMS

ROOT = Path(__file__).parents[1]


def test_31_mechanisms_in_order():
    assert [m.number for m in MECHANISMS] == list(range(1, 32))
    assert len({m.key for m in MECHANISMS}) == 31


def test_every_layer_is_listed_once_and_public():
    listed = [name for m in MECHANISMS for name in m.layers]
    assert sorted(listed) == sorted(layers.__all__)
    for name in listed:
        assert getattr(attn_core, name) is getattr(layers, name)


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: m.key)
def test_entry(mechanism):
    assert mechanism.kind in ("image", "token", "image or token")
    assert mechanism.summary.endswith(".")
    assert bool(mechanism.title) == bool(mechanism.arxiv) == bool(mechanism.authors)
    principal = getattr(layers, mechanism.layers[0])
    assert principal.__module__.split(".")[2] == mechanism.family
    for name in mechanism.layers:
        layer = getattr(layers, name)
        assert layer.__module__.startswith("attn_core.layers.")
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
        for name in {n.casefold() for n in (m.key, m.name, *m.layers, *m.aliases)}:
            assert seen.setdefault(name, m.key) == m.key, name
    assert catalog.find("no such thing") is None


def test_readme_shows_the_catalog():
    spec = importlib.util.spec_from_file_location("table", ROOT / "scripts" / "readme_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text()
    assert module.START in readme
    assert module.with_table(readme) == readme, "run python scripts/readme_table.py"
