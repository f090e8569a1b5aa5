"""What a map is, and so how it is drawn: over the image, as bars, or as a matrix."""

from dataclasses import dataclass
from math import ceil, isqrt, log, sqrt
from numbers import Integral

import numpy as np

from attn_core.layers.base import ImageLayer
from attn_core.tools.maps import Recorded

POSITIONS = ("head", "position", "position")
AXES = {
    "ResidualAttention": [("head", "class", "position")],
    "ExternalAttention": [("head", "position", "memory slot")],
    "SeparableSelfAttention": [("pixel", "context", "position")],
    "DoubleAttention": [("", "map", "position"), ("", "position", "map")],
    "ChannelSelfAttention": [("", "channel", "channel")],
    "DualAttention": [("", "position", "position"), ("", "channel", "channel")],
}
"""What the axes (heads, queries, keys) of a layer's maps are, where they are not `POSITIONS`."""


@dataclass(frozen=True)
class Drawing:
    """A map of one sample, ready to be drawn.

    Attributes:
        kind: "image" for arrays over the image, "bars", "stack" for stacked bars, "matrix".
        what: What the numbers are, in a few words.
        panels: The arrays to draw, by label.
        rows: What the rows of a matrix are.
        columns: What its columns, or the bars, are.
        top: What the scale of bars reaches at least.
        frame: The cell of the query, (row, column), and the grid (rows, columns) it is a cell of.
    """

    kind: str
    what: str
    panels: dict[str, np.ndarray]
    rows: str = ""
    columns: str = ""
    top: float = 0.0
    frame: tuple[tuple[int, int], tuple[int, int]] | None = None


@dataclass(frozen=True)
class Grid:
    """Tokens that are the positions of an image: `rows` x `columns`, behind `first` others."""

    rows: int
    columns: int
    first: int = 0

    def image(self, values: np.ndarray) -> np.ndarray:
        """Return the values of all tokens as an image."""
        return values[self.first :].reshape(self.rows, self.columns)


def describe(one: Recorded, index: int, size: tuple[int, int], head=None, query=None) -> Drawing:
    """Return how a map of a layer is drawn.

    Args:
        one: What a call of the layer left.
        index: Which of its maps.
        size: Height and width of the image.
        head: As for `visualize`.
        query: As for `visualize`.
    """
    batch = one.each[index]
    gate, array = as_gate(one, batch), batch[0]
    if gate is not None:
        return _gate(gate[0], one, head)
    if array.ndim == 2:
        return Drawing("stack", "weight of each branch", {"": array}, "branch", "channel")
    if array.ndim == 4 and _family(one.layer) == "windows":
        return _windows(one, array, size, head, query)
    if array.ndim == 3:
        return _attention(one, index, array, size, head, query)
    return Drawing("matrix", "map", {"": array.reshape(-1, array.shape[-1])})


def as_gate(one: Recorded, array: np.ndarray) -> np.ndarray | None:
    """Return a map, channels last, if it is the gate of an image."""
    if array.ndim != 4 or not isinstance(one.layer, ImageLayer) or len(one.input_shape) != 4:
        return None
    if _family(one.layer) in ("heads", "maps", "tokens", "windows"):
        return None  # their maps are attention, and may have the shape of a gate by accident
    gate = array if one.layer.data_format == "channels_last" else np.moveaxis(array, 1, -1)
    _, *whole, channels = one.layer.channels_last_shape(one.input_shape)
    fits = all(length in (1, full) for length, full in zip(gate.shape[1:], whole, strict=False))
    return gate if fits and channels % gate.shape[-1] == 0 else None


def _family(layer) -> str:
    """Return the folder of `attn_core.layers` that the layer's class, or its base, lives in."""
    for kind in type(layer).__mro__:
        parts = kind.__module__.split(".")
        if parts[:2] == ["attn_core", "layers"] and len(parts) == 4:
            return parts[2]
    return ""


def _gate(gate: np.ndarray, one: Recorded, head) -> Drawing:
    """Draw a gate, (rows, columns, channels) or fewer where it is the same for several."""
    rows, columns, groups = gate.shape
    if rows == columns == 1:
        return Drawing("bars", "gate of each channel", {"": gate[0, 0]}, columns="channel", top=1.0)
    _, height, width, channels = one.layer.channels_last_shape(one.input_shape)
    place = "column" if rows < height else "row" if columns < width else "position"
    what = f"gate of each {place}"
    if groups > 1:
        kind = "channel" if groups == channels else "group"
        gate = gate[..., _heads(head, groups, one, kind)]
        what += f", mean over the {kind}s" if head is None else f", {kind} {head}"
    mean = gate.mean(axis=-1)
    return Drawing("image", what, {"": np.broadcast_to(mean, (height, width))})


def _attention(one: Recorded, index: int, array, size, head, query) -> Drawing:
    """Draw attention, (heads, queries, keys)."""
    of_heads, of_queries, of_keys = _axes(one, index)
    queries = _grid(one, array.shape[1], size) if of_queries == "position" else None
    keys = _grid(one, array.shape[2], size) if of_keys == "position" else None
    chosen, frame, asked = range(array.shape[1]), None, f"each {of_queries}"
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


def _windows(one: Recorded, array, size, head, query) -> Drawing:
    """Draw attention within windows, (heads, windows, queries, keys), where the query is.

    Windows lie `step` apart, and reach `margin` beyond the positions that they are for. The
    queries are those positions, or, of outlook attention, all of the window's.
    """
    layer, (heads, _, queries, keys) = one.layer, array.shape
    step = getattr(layer, "block_size", None) or getattr(layer, "strides", 1)
    margin = layer.halo_size if hasattr(layer, "halo_size") else layer.kernel_size // 2
    height, width = layer.channels_last_shape(one.input_shape)[1:3]
    if isinstance(query, Integral):
        cell = divmod(_existing("query", query, height * width, one), width)
        asked = f"position {query}"
    else:
        cell = cell_of(query, size, (height, width))
        asked = f"the query at {pixel(query, size)}"
    row, column = (place // step for place in cell)
    outset = margin if queries == keys else 0
    place = [
        min(place % step + outset, isqrt(queries) - 1) for place in cell
    ]  # of the query, among those of its window
    weights = array[:, row * ceil(width / step) + column, place[0] * isqrt(queries) + place[1]]

    side = isqrt(keys)
    around = np.full((heads, height + 2 * side, width + 2 * side), np.nan, "float32")
    top, left = side + row * step - margin, side + column * step - margin
    around[:, top : top + side, left : left + side] = weights.reshape(heads, side, side)
    images = around[:, side : side + height, side : side + width]
    panels = {f"head {h}" if heads > 1 else "": images[h] for h in _heads(head, heads, one)}
    frame = cell, (height, width)
    return Drawing("image", f"weight of each position for {asked}", panels, frame=frame)


def _axes(one: Recorded, index: int) -> tuple[str, str, str]:
    known = [AXES[kind.__name__] for kind in type(one.layer).__mro__ if kind.__name__ in AXES]
    of_heads, of_queries, of_keys = known[0][index] if known else POSITIONS
    return of_heads, of_queries, of_keys if one.shared_keys else "key"


def _grid(one: Recorded, count: int, size: tuple[int, int]) -> Grid | None:
    """Return the grid that `count` positions form, or `None` if they form none.

    That of an image is known. Tokens are taken for the patches of the image, all of them or all but
    the first, if they form a grid as wide and as high as it, in proportion.
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


def pixel(query, size: tuple[int, int]) -> tuple[int, int]:
    """Return the pixel `query`, or the middle one."""
    return tuple(query) if isinstance(query, (tuple, list)) else (size[0] // 2, size[1] // 2)


def cell_of(query, size, grid) -> tuple[int, int]:
    """Return the cell of a grid over an image that holds the pixel `query`, or the middle one."""
    places = zip(pixel(query, size), grid, size, strict=True)
    row, column = (int(place) * cells // length for place, cells, length in places)
    return row, column


def _heads(head, count: int, one: Recorded, kind: str = "head") -> list[int]:
    """Return the numbers of the heads to draw."""
    return list(range(count)) if head is None else [_existing("head", head, count, one, kind)]


def _existing(name: str, value, count: int, one: Recorded, kind: str | None = None) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or not 0 <= value < count:
        kinds = {None: "queries"}.get(kind, f"{kind}s")
        raise ValueError(
            f"visualize: `{name}` must be the number of one of the {count} {kinds} of "
            f"{type(one.layer).__name__} {one.layer.name!r}, from 0. Received: {name}={value!r}"
        )
    return int(value)


def _label(*words: str) -> str:
    return ", ".join(filter(None, words))
