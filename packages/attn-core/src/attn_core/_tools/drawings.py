"""How each map is drawn: over the image, as bars, or as a matrix."""

from dataclasses import dataclass
from math import ceil, isqrt, log, sqrt
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np

from attn_core._tools.maps import Recorded
from attn_core.layers._base import ImageLayer
from attn_core.layers._maps import Attention, Cross, Gate, Lines, Map, Nearest, Windows

Pair: TypeAlias = tuple[int, int]
"""A row and a column, or a height and a width."""


@dataclass(frozen=True)
class Drawing:
    """A map of one sample, ready to be drawn.

    Attributes:
        kind: "image" for arrays over the image, "bars", "stack" for stacked bars, "matrix".
        what: What the numbers are, in a few words.
        panels: The arrays to draw, by label.
        rows: What the rows of a matrix are.
        columns: What its columns, or the bars, are.
        top: The smallest upper end of the scale of bars.
        frame: The cell of the query, (row, column), and the grid (rows, columns) of all cells.
    """

    kind: str
    what: str
    panels: dict[str, np.ndarray]
    rows: str = ""
    columns: str = ""
    top: float = 0.0
    frame: tuple[Pair, Pair] | None = None


@dataclass(frozen=True)
class Grid:
    """Tokens that are the positions of an image, `rows` x `columns`, after `first` other tokens."""

    rows: int
    columns: int
    first: int = 0

    def image(self, values: np.ndarray) -> np.ndarray:
        """Return the values of the tokens that are positions, as an image."""
        return values[self.first :].reshape(self.rows, self.columns)


def describe(
    one: Recorded, index: int, size: Pair, head: int | None = None, query: Any = None
) -> Drawing:
    """Return how a map of a layer is drawn.

    Args:
        one: What was recorded of a call of the layer.
        index: The number of the map among those of the layer.
        size: Height and width of the image.
        head: As for `visualize`.
        query: As for `visualize`.
    """
    batch = one.each[index]
    gate, array = as_gate(one, index), batch[0]
    if gate is not None:
        return _gate(gate[0], one, head)
    if isinstance(_kind(one, index), Gate):
        return _gate_elsewhere(array, one)
    if array.ndim == 2:
        return Drawing("stack", "weight of each branch", {"": array}, "branch", "channel")
    if isinstance(_kind(one, index), Windows) and array.ndim == 4:
        return _windows(one, array, size, head, query)
    if isinstance(_kind(one, index), Cross):
        return _cross(one, array, size, head, query)
    if isinstance(_kind(one, index), Nearest):
        return _nearest(one, array, size, head, query)
    if isinstance(_kind(one, index), Lines):
        return _line(one, index, array, size, head, query)
    if array.ndim == 3:
        return _attention(one, index, array, size, head, query)
    return Drawing("matrix", "map", {"": array.reshape(-1, array.shape[-1])})


def as_gate(one: Recorded, index: int) -> np.ndarray | None:
    """Return a map, channels last, if it is the gate of an image; `None` if it is another map."""
    array = one.each[index]
    if array.ndim != 4 or not isinstance(_kind(one, index), Gate):
        return None
    return array if one.layer.data_format == "channels_last" else np.moveaxis(array, 1, -1)


def _kind(one: Recorded, index: int) -> Map | None:
    """Return the kind of a map that the layer declares."""
    declared = one.layer.maps
    return declared[min(index, len(declared) - 1)] if declared else None


def _gate(gate: np.ndarray, one: Recorded, head: int | None) -> Drawing:
    """Draw a gate, (rows, columns, channels), where an axis may have length 1."""
    rows, columns, groups = gate.shape
    if rows == columns == 1:
        return Drawing("bars", "gate of each channel", {"": gate[0, 0]}, columns="channel", top=1.0)
    _, height, width, channels = one.layer.channels_last_shape(one.input_shape)
    axis = "column" if rows < height else "row" if columns < width else "position"
    what = f"gate of each {axis}"
    if groups > 1:
        kind = "channel" if groups == channels else "group"
        gate = gate[..., _heads(head, groups, one, kind)]
        what += f", mean over the {kind}s" if head is None else f", {kind} {head}"
    mean = gate.mean(axis=-1)
    return Drawing("image", what, {"": np.broadcast_to(mean, (height, width))})


def _gate_elsewhere(gate: np.ndarray, one: Recorded) -> Drawing:
    """Draw a gate of a signal, of tokens, or of a volume."""
    last = gate if one.layer.data_format == "channels_last" else np.moveaxis(gate, 0, -1)
    weights = last.reshape(-1, last.shape[-1])
    if len(weights) == 1:
        return Drawing("bars", "gate of each channel", {"": weights[0]}, columns="channel", top=1.0)
    return Drawing("matrix", "gate", {"": weights}, "position", "channel")


def _attention(
    one: Recorded, index: int, array: np.ndarray, size: Pair, head: int | None, query: Any
) -> Drawing:
    """Draw attention, (heads, queries, keys)."""
    of_heads, of_queries, of_keys = _axes(one, index)
    queries = _grid(one, array.shape[1], size) if of_queries == "position" else None
    keys = _grid(one, array.shape[2], size) if of_keys == "position" else None
    chosen: list[int] = list(range(array.shape[1]))
    frame, asked = None, f"each {of_queries}"
    if isinstance(query, Integral):
        chosen, asked = [_existing("query", query, array.shape[1], one)], f"{of_queries} {query}"
        if queries and query >= queries.first:
            grid = queries.rows, queries.columns
            frame = divmod(int(query) - queries.first, queries.columns), grid
    elif queries and (keys or query is not None):
        grid = queries.rows, queries.columns
        frame = cell_of(query, size, grid), grid
        chosen = [queries.first + frame[0][0] * grid[1] + frame[0][1]]
        asked = f"the query at {pixel(query, size)}"
    names = {h: f"{of_heads} {h}" if len(array) > 1 else "" for h in _heads(head, len(array), one)}
    if keys:
        panels = {
            _label(name, f"{of_queries} {q}" if len(chosen) > 1 else ""): keys.image(array[h, q])
            for h, name in names.items()
            for q in chosen
        }
        return Drawing("image", f"weight of each position for {asked}", panels, frame=frame)
    if queries and len(chosen) > 1:
        panels = {
            _label(name, f"{of_keys} {k}"): queries.image(array[h, :, k])
            for h, name in names.items()
            for k in range(array.shape[2])
        }
        return Drawing("image", f"weight of each {of_keys}, at each position", panels)
    what = f"weight of each {of_keys} for {asked}"
    if len(chosen) == 1:
        panels = {name: array[h, chosen[0]] for h, name in names.items()}
        return Drawing("bars", what, panels, columns=of_keys, frame=frame)
    panels = {name: array[h] for h, name in names.items()}
    return Drawing("matrix", what, panels, of_queries, of_keys)


def _windows(one: Recorded, array: np.ndarray, size: Pair, head: int | None, query: Any) -> Drawing:
    """Draw attention within windows, (heads, windows, queries, keys): the window of the query.

    The windows are `step` apart, and each extends `margin` beyond the positions of its queries. In
    outlook attention all positions of the window are queries, in halo attention with strides every
    so-many-th one of its block. The positions of a window may lie
    `apart` pixels from each other: a block of step * apart rows and columns then holds apart *
    apart windows.
    """
    layer, (heads, _, queries, keys) = one.layer, array.shape
    step = getattr(layer, "block_size", None) or getattr(layer, "strides", 1)
    margin = layer.halo_size if hasattr(layer, "halo_size") else layer.kernel_size // 2
    position, (height, width), asked = _position(one, size, query)
    apart, shift = getattr(layer, "pixel_distance", 1), getattr(layer, "shift", 0)
    row, column = position
    cell = (row - shift) % height, (column - shift) % width
    block = step * apart
    row, column = (place // block for place in cell)
    side_of_queries = isqrt(queries)
    strides = max(1, step // side_of_queries)
    outset = margin if queries == keys else 0
    within = [
        min(place % block // apart // strides + outset, side_of_queries - 1) for place in cell
    ]
    number = within[0] * side_of_queries + within[1]  # in its window
    first = [place % apart for place in cell]  # of the windows of a block, its own
    window = (row * ceil(width / block) + column) * apart**2 + first[0] * apart + first[1]
    weights = array[:, window, number]

    side, extent = isqrt(keys), isqrt(keys) * apart
    around = np.full((heads, height + 2 * extent, width + 2 * extent), np.nan, "float32")
    top = extent + row * block - margin + first[0]
    left = extent + column * block - margin + first[1]
    around[:, top : top + extent : apart, left : left + extent : apart] = weights.reshape(
        heads, side, side
    )
    images = around[:, extent : extent + height, extent : extent + width]
    images = np.roll(images, (shift, shift), axis=(1, 2))
    return _of_query(one, images, head, asked, (position, (height, width)))


def _cross(one: Recorded, array: np.ndarray, size: Pair, head: int | None, query: Any) -> Drawing:
    """Draw attention to column and row, (heads, queries, H + W): the cross of the query."""
    (row, column), grid, asked = _position(one, size, query)
    height, width = grid
    images = np.full((len(array), height, width), np.nan, "float32")
    weights = array[:, row * width + column]
    images[:, :, column], images[:, row] = weights[:, :height], weights[:, height:]
    return _of_query(one, images, head, asked, ((row, column), grid))


def _nearest(one: Recorded, array: np.ndarray, size: Pair, head: int | None, query: Any) -> Drawing:
    """Draw attention to the nearest positions, (heads, queries, k * k); padding is left out."""
    (row, column), grid, asked = _position(one, size, query)
    rows, columns = one.layer.nearest_positions(*grid)
    sides = [max(one, places.max() + 1) for one, places in zip(grid, (rows, columns), strict=True)]
    around = np.full((len(array), *sides), np.nan, "float32")
    weights = array[:, row * grid[1] + column].reshape(len(array), rows.shape[1], -1)
    around[:, rows[row][:, None], columns[column]] = weights
    images = around[:, : grid[0], : grid[1]]
    return _of_query(one, images, head, asked, ((row, column), grid))


def _line(
    one: Recorded, index: int, array: np.ndarray, size: Pair, head: int | None, query: Any
) -> Drawing:
    """Draw attention within lines, (heads, lines, queries, keys): the line of the query."""
    (row, column), grid, asked = _position(one, size, query)
    images = np.full((len(array), *grid), np.nan, "float32")
    if _kind(one, index) == Lines("column"):
        images[:, :, column] = array[:, column, row]
    else:
        images[:, row] = array[:, row, column]
    return _of_query(one, images, head, asked, ((row, column), grid))


def _of_query(
    one: Recorded, images: np.ndarray, head: int | None, asked: str, frame: tuple[Pair, Pair]
) -> Drawing:
    """Draw what a query attends to, (heads, rows, columns): one panel for each head."""
    several = len(images) > 1
    heads = _heads(head, len(images), one)
    panels = {f"head {h}" if several else "": images[h] for h in heads}
    return Drawing("image", f"weight of each position for {asked}", panels, frame=frame)


def _position(one: Recorded, size: Pair, query: Any) -> tuple[Pair, Pair, str]:
    """Return the position of the query in the layer's image, the image's size, and its name."""
    height, width = one.layer.channels_last_shape(one.input_shape)[1:3]
    if isinstance(query, Integral):
        cell = divmod(_existing("query", query, height * width, one), width)
        return cell, (height, width), f"position {query}"
    cell = cell_of(query, size, (height, width))
    return cell, (height, width), f"the query at {pixel(query, size)}"


def _axes(one: Recorded, index: int) -> tuple[str, str, str]:
    kind = _kind(one, index)
    axes = kind if isinstance(kind, Attention) else Attention()
    return axes.heads, axes.queries, axes.keys if one.shared_keys else "key"


def _grid(one: Recorded, count: int, size: Pair) -> Grid | None:
    """Return the grid that `count` positions form, or `None` if they do not form a grid.

    The grid of an image is known. Tokens, or all tokens but the first, are taken for the patches of
    the image if they form a grid with about the proportions of the image.
    """
    if isinstance(one.layer, ImageLayer) and len(one.input_shape) == 4:
        size = one.layer.channels_last_shape(one.input_shape)[1:3]
        if count == size[0] * size[1]:
            return Grid(*size)
    proportion = size[0] / size[1]
    for first in (0, 1):
        rows = round(sqrt((count - first) * proportion))
        if rows and (count - first) % rows == 0:
            columns = (count - first) // rows
            if abs(log(rows / columns / proportion)) < 0.25:
                return Grid(rows, columns, first)
    return None


def pixel(query: Any, size: Pair) -> Pair:
    """Return the pixel `query`, or the one in the middle."""
    return tuple(query) if isinstance(query, (tuple, list)) else (size[0] // 2, size[1] // 2)


def cell_of(query: Any, size: Pair, grid: Pair) -> Pair:
    """Return the cell of a grid that holds the pixel `query` of an image, or the middle pixel."""
    places = zip(pixel(query, size), grid, size, strict=True)
    row, column = (int(place) * cells // length for place, cells, length in places)
    return row, column


def _heads(head: int | None, count: int, one: Recorded, kind: str = "head") -> list[int]:
    """Return the numbers of the heads to draw."""
    return list(range(count)) if head is None else [_existing("head", head, count, one, kind)]


def _existing(name: str, value: Any, count: int, one: Recorded, kind: str | None = None) -> int:
    """Return the number of a head or query, after a check that it exists."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not 0 <= value < count:
        kinds = {None: "queries"}.get(kind, f"{kind}s")
        raise ValueError(
            f"visualize: `{name}` must be the number of one of the {count} {kinds} of "
            f"{type(one.layer).__name__} {one.layer.name!r}, from 0. Received: {name}={value!r}"
        )
    return int(value)


def _label(*words: str) -> str:
    return ", ".join(filter(None, words))
