"""The networks of the playground: the maps of a trained network as an ONNX file, and their views.

A view says how the numbers of a map are drawn. It follows `describe`, which draws the pictures of
this site: `describe` draws, in place of a map, the place of each number in it.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
from attn_core._tools.drawings import Drawing, Pair, as_gate, describe
from attn_core._tools.maps import Recorded, record

NOWHERE = 65_535
"""In a table: no number of the map is drawn here."""


@dataclass(frozen=True)
class View:
    """One way to draw a map: panels of the same shape, of which each number is one of the map.

    Attributes:
        map: The number of the map among the layer's.
        kind: As for `Drawing`.
        what: What the numbers are.
        rows: As for `Drawing`.
        columns: As for `Drawing`.
        top: As for `Drawing`.
        shape: Rows and columns of a panel.
        grid: Rows and columns of the queries, `None` if there are no queries to choose from.
        panels: The labels of the panels.
        offsets: What to add to a place of the first panel for each panel.
        mean: Whether the mean over the panels can be drawn, too.
        table: The places in the map of the numbers of the first panel, for one query after the
            other; `None` if they are one after the other.
    """

    map: int
    kind: str
    what: str
    rows: str
    columns: str
    top: float
    shape: Pair
    grid: Pair | None
    panels: list[str]
    offsets: list[int]
    mean: bool
    table: np.ndarray | None


def network_of_maps(model: keras.Model, name: str) -> keras.Model:
    """Return the network that gives the maps of a layer of a model, with the model's weights."""
    layer = model.get_layer(name)
    again = type(layer).from_config(layer.get_config())
    _, maps = again(layer.input, return_attention_scores=True)
    again.set_weights(layer.get_weights())
    return keras.Model(model.input, keras.tree.flatten(maps))


def export(model: keras.Model, name: str, size: Pair, folder: Path) -> dict:
    """Write the network of the maps of a layer, and the tables of its views.

    Args:
        model: A trained model that takes images.
        name: The name of the layer.
        size: Height and width of the images.
        folder: Where to write the files.

    Returns:
        The views, and some numbers of each map for the input `pattern`, for a test in a browser.
    """
    maps, x = network_of_maps(model, name), pattern(size)[None]
    maps(x)  # Keras exports what was called
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about shapes, which are always the same
        maps.export(folder / f"{name}.onnx", format="onnx", verbose=False)
    ((_, one),) = record(model, x).items()
    written = []
    for number, view in enumerate(views(one, size)):
        file = None if view.table is None else f"{name}.{number}.bin"
        if file:
            (folder / file).write_bytes(view.table.astype("<u2").tobytes())
        written.append({**asdict(replace(view, table=None)), "table": file})
    return {"views": written, "expected": [some(array).tolist() for array in one.each]}


def pattern(size: Pair) -> np.ndarray:
    """Return an image that is easy to make in any language."""
    return (np.arange(size[0] * size[1] * 3) * 37 % 101 / 100).astype("float32").reshape(*size, 3)


def some(array: np.ndarray) -> np.ndarray:
    """Return 16 numbers of a map, or all if it has fewer."""
    return array.ravel()[:: -(-array.size // 16)]


def title(what: str) -> str:
    """Return what is drawn, the same for all queries."""
    return re.sub(r" at \(\d+, \d+\)", ", framed", what)


def views(one: Recorded, size: Pair) -> Iterator[View]:
    """Yield the views of all maps of a layer, for an image of a size."""
    places = [np.arange(array.size, dtype="float32").reshape(array.shape) for array in one.each]
    numbered = replace(one, maps=tuple(places))
    for index in range(len(places)):
        still = describe(numbered, index, size)
        if (gate := as_gate(numbered, index)) is not None and still.kind == "image":
            groups = gate.shape[-1]
            drawings = [describe(numbered, index, size, head=head) for head in range(groups)]
            yield _of_gate(index, still, drawings)
            continue
        if not still.frame:
            yield _view(index, [still], None)
        grid = describe(numbered, index, size, query=(0, 0)).frame
        if grid:
            yield _view(index, [*_asked(numbered, index, size, grid[1])], grid[1])


def _asked(one: Recorded, index: int, size: Pair, grid: Pair) -> Iterator[Drawing]:
    """Yield what is drawn for each query, row by row."""
    for row in range(grid[0]):
        for column in range(grid[1]):
            cell = zip((row, column), size, grid, strict=True)
            query = tuple((2 * place + 1) * length // (2 * cells) for place, length, cells in cell)
            yield describe(one, index, size, query=query)


def _of_gate(index: int, still: Drawing, drawings: list[Drawing]) -> View:
    """Return the view of a gate that differs between positions: a panel for each channel."""
    several = len(drawings) > 1
    panels = {
        one.what.rpartition(", ")[2] if several else "": array
        for one in drawings
        for array in one.panels.values()
    }
    what = still.what.partition(", mean")[0]
    return _view(index, [replace(still, what=what, panels=panels)], None)


def _view(index: int, drawings: list[Drawing], grid: Pair | None) -> View:
    """Return the view of drawings, one for each query, that were made of a map's places."""
    first, labels = drawings[0], list(drawings[0].panels)
    places = np.stack([list(one.panels.values()) for one in drawings])  # (queries, panels, ...)
    offsets = np.nanmax(places - places[:, :1], axis=(0, *range(2, places.ndim)))
    table = places[:, 0]
    for panel, offset in enumerate(offsets):
        np.testing.assert_array_equal(places[:, panel], table + offset)
    straight = np.array_equal(table.ravel(), np.arange(table.size))
    return View(
        map=index,
        kind=first.kind,
        what=title(first.what),
        rows=first.rows,
        columns=first.columns,
        top=first.top,
        shape=(1, *table.shape[1:])[-2:],
        grid=grid,
        panels=labels,
        offsets=[int(offset) for offset in offsets],
        mean=re.fullmatch(r"(head|channel|group) \d+", labels[0]) is not None,
        table=None if straight else np.nan_to_num(table, nan=NOWHERE).astype("uint16"),
    )
