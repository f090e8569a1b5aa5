"""The networks of the playground: the maps are the layer's, and drawn as `describe` draws them."""

import json

import keras
import numpy as np
import pytest
from attn_core import catalog, layers
from attn_core._tools.drawings import cell_of, describe
from attn_core._tools.maps import record

from scripts.site import browser_libraries, eight, map_networks, map_pictures, playground

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytestmark = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="nox -s docs exports them on PyTorch alone"
)
SIZE = map_pictures.HEIGHT, map_pictures.WIDTH
IMAGE = np.random.default_rng(0).random((*SIZE, 3)).astype("float32")


def cases():
    """Yield all mechanisms with maps; of those with maps of the same kinds, one always runs."""
    seen = set()
    for one in map_pictures.mechanisms():
        kinds = repr(getattr(layers, one.principal).maps)
        marks = [pytest.mark.thorough] if kinds in seen else []
        seen.add(kinds)
        yield pytest.param(one, id=one.key, marks=marks)


def drawn(view, numbers, query):
    """Return the panels of a view, as the page computes them from the numbers of a map."""
    count = view["shape"][0] * view["shape"][1]
    places = np.arange(query * count, (query + 1) * count)
    if view["table"] is not None:
        places = np.frombuffer(view["table"], "<u2").astype(int)[places]
    nowhere = places == map_networks.NOWHERE
    panels = [
        np.where(nowhere, np.nan, numbers[np.where(nowhere, 0, places) + offset])
        for offset in view["offsets"]
    ]
    return [panel.reshape(view["shape"]) for panel in panels]


@pytest.mark.parametrize("mechanism", list(cases()))
def test_network(mechanism, tmp_path):
    model = map_pictures.network(mechanism)
    ((_, one),) = record(model, IMAGE[None]).items()
    about = map_networks.export(model, mechanism.key, SIZE, tmp_path)
    session = onnxruntime.InferenceSession(
        tmp_path / f"{mechanism.key}.onnx", providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    maps = session.run(None, {given.name: IMAGE[None]})
    for found, expected in zip(maps, one.each, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    numbers = session.run(None, {given.name: map_networks.pattern(SIZE)[None]})
    for found, expected in zip(numbers, about["expected"], strict=True):
        np.testing.assert_allclose(map_networks.some(found), expected, rtol=0, atol=1e-5)

    assert {view["map"] for view in about["views"]} == set(range(len(maps)))
    for view in about["views"]:
        table = view["table"] and (tmp_path / view["table"]).read_bytes()
        for pixel in ((0, 0), (31, 25), (47, 71)):
            check_view({**view, "table": table}, one, pixel)


def check_view(view, one, pixel):
    """Compare a view with what `describe` draws for a pixel."""
    query = 0
    if view["grid"]:
        row, column = cell_of(pixel, SIZE, view["grid"])
        query = row * view["grid"][1] + column
    drawing = describe(one, view["map"], SIZE, query=pixel if view["grid"] else None)
    panels = drawn(view, one.each[view["map"]].ravel(), query)
    if len(panels) > len(drawing.panels):  # the mean over channels
        panels = [np.mean(panels, axis=0)]
    assert (view["kind"], view["top"]) == (drawing.kind, drawing.top)
    assert (view["rows"], view["columns"]) == (drawing.rows, drawing.columns)
    for found, expected in zip(panels, drawing.panels.values(), strict=True):
        np.testing.assert_allclose(found, np.reshape(expected, view["shape"]), atol=1e-6)


def test_views_in_words():
    """A view names its panels, and says whether their mean can be drawn."""
    expected = {
        "dot-product": [("weight of each position for the query, framed", "head 3", 4, True)],
        "coordinate": [
            ("gate of each row", "channel 31", 32, True),
            ("gate of each column", "channel 31", 32, True),
        ],
        "external": [
            ("weight of each memory slot, at each position", "memory slot 15", 16, False),
            ("weight of each memory slot for the query, framed", "", 1, False),
        ],
    }
    for key, wanted in expected.items():
        ((_, one),) = record(map_pictures.network(catalog.get(key)), IMAGE[None]).items()
        views = list(map_networks.views(one, SIZE))
        found = [(view.what, view.panels[-1], len(view.panels), view.mean) for view in views]
        assert found == wanted


def test_files(tmp_path, monkeypatch):
    """The page finds the networks, the photographs and the sizes."""
    monkeypatch.setattr(map_pictures, "FOLDER", tmp_path / "maps")
    monkeypatch.setattr(browser_libraries, "FOLDER", tmp_path)
    for path in playground.RUNTIME.paths:
        path.write_bytes(bytes(3_000_000))
    model = map_pictures.network(catalog.get("window"))
    folder = map_pictures.FOLDER / map_pictures.NETWORKS
    about = map_networks.export(model, "window", SIZE, folder)
    (map_pictures.FOLDER / "window.json").write_text(json.dumps(about))

    playground.write(tmp_path / "files")
    written = json.loads((tmp_path / "files" / "index.json").read_text())
    (one,) = written["mechanisms"]
    network = tmp_path / "files" / "networks" / "window.onnx"
    assert (one["key"], one["bytes"]) == ("window", network.stat().st_size)
    assert written["runtime"] == 6_000_000
    for view in one["views"]:
        assert (network.parent / view["table"]).stat().st_size == 2 * 216 * 216
    for photograph in written["photographs"]:
        assert (tmp_path / "files" / f"{photograph['name']}.webp").stat().st_size < 100_000
    assert json.loads((tmp_path / "files" / "expected.json").read_text()).keys() == {"window"}

    text = playground.section()
    assert "| 6.0 MB |" in text
    assert f"| {network.stat().st_size / 1e3:.0f} to " in text
    monkeypatch.setattr(playground, "TIMES", tmp_path / "none.json")
    assert "have not been measured yet" in playground.times()


def test_eight(tmp_path, monkeypatch):
    """The home page has a picture of each of eight maps, drawn over the photograph."""
    monkeypatch.setattr(map_pictures, "FOLDER", tmp_path)
    for key in eight.EIGHT:
        map_pictures.write_for_home(map_pictures.network(catalog.get(key)), key)
    section = eight.section()
    pictures = sorted(path.name for path in (tmp_path / eight.PICTURES).iterdir())
    assert len(pictures) == 9
    assert all(f'src="maps/{eight.PICTURES}/{name}" alt="' in section for name in pictures)
    contents = {path.read_bytes() for path in (tmp_path / eight.PICTURES).iterdir()}
    assert len(contents) == 9
    assert all(content.startswith(b"RIFF") for content in contents)
