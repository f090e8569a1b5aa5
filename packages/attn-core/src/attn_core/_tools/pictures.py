"""`visualize`: figures of the attention maps of a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from math import ceil
from numbers import Integral
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from attn_core._tools.drawings import Drawing, describe
from attn_core._tools.maps import Recorded, record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase
    from matplotlib.image import AxesImage

MAX_COLUMNS = 6
"""The largest number of panels of one map side by side, besides the image."""
MAX_PANELS = 12
"""The largest number of panels that are drawn of one map."""
PANEL_WIDTH = 1.7
"""The width of a panel in inches; panels are wider where a row has few of them."""
ROW_WIDTH = 6.8
"""The smallest width of a row of panels, in inches."""


def visualize(
    model: keras.layers.Layer,
    image: Any,
    *,
    layer: str | None = None,
    head: int | None = None,
    query: int | tuple[int, int] | None = None,
    data_format: str | None = None,
) -> Figure:
    """Draw the map of every attention layer in a model, or of one layer, for an image.

    The drawing depends on the kind of the map, as follows:

    - A gate of channels is drawn as bars.
    - A gate that differs by position is drawn over the image: its mean over the channels.
    - Attention between positions is drawn over the image, with one panel for each head: how much
      the query, framed in red, attends to each position.
    - If the queries are not positions (but classes, for example), or the keys are not (but memory
      slots), there is one panel for each query or key.
    - Weights of branches are stacked bars.
    - All other maps, for example attention between channels, are drawn as matrices.

    If a map has more than 12 panels, only the first 12 are drawn.

    Args:
        model: A Keras model that takes one image, or a layer.
        image: The image, scaled as the model expects it: `(H, W, C)`, or a batch of one.
        layer: Path of the layer to draw, as in `attention_maps`; `None` draws all layers.
        head: The number of the head to draw, from 0; for a gate that differs by position and
            channel, the number of the channel or group of channels. `None` draws all heads, and
            the mean of a gate.
        query: The query whose attention is drawn: `(row, column)` of a pixel of the image, or the
            number of a query, from 0, for example of a class or a class token. `None` is the pixel
            in the middle. Maps without queries ignore it.
        data_format: Data format of the image, "channels_last" or "channels_first". Default:
            `keras.config.image_data_format()`.

    Returns:
        A `matplotlib.figure.Figure`, which `figure.savefig("maps.png")` writes to a file.

    Raises:
        ValueError: If `image` is not an image, there is no such layer, head or query, or no layer
            of the model has a map.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from attn_core import SEAttention
        >>> layer = SEAttention(data_format="channels_last")
        >>> figure = visualize(layer, np.ones((8, 8, 32)), data_format="channels_last")
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['channel']
    """
    picture, recorded = prepare(model, image, layer, query, data_format)
    return draw(picture, recorded, head, query)


def prepare(
    model: keras.layers.Layer,
    image: Any,
    layer: str | None = None,
    query: Any = None,
    data_format: str | None = None,
) -> tuple[np.ndarray, dict[str, Recorded]]:
    """Check the arguments of `visualize`; return the image, (H, W, C), and the recorded maps."""
    _check_one_input(model, image)
    picture, inputs = _as_picture(image, data_format)
    _check_query(query, picture)
    recorded = record(model, inputs)
    return picture, recorded if layer is None else {layer: _choose(recorded, layer)}


def draw(
    picture: np.ndarray,
    recorded: dict[str, Recorded],
    head: int | None = None,
    query: Any = None,
) -> Figure:
    """Return the figure of an image and the recorded maps."""
    drawings: dict[str, Drawing] = {}
    for path, one in recorded.items():
        count = len(one.each)
        for index in range(count):
            which = f", map {index + 1} of {count}" if count > 1 else ""
            title = f"{path} ({type(one.layer).__name__}){which}"
            drawings[title] = describe(one, index, picture.shape[:2], head, query)
    return _draw(_new_figure(), picture, drawings)


def _new_figure() -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "attn-core[demo]"') from error
    return Figure(layout="constrained")


def _as_picture(image: Any, data_format: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return an image as it is shown, channels last, and as a batch for the model."""
    data_format = data_format or keras.config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "visualize: `data_format` must be 'channels_last' or 'channels_first'. "
            f"Received: data_format={data_format!r}"
        )
    try:
        batch = np.asarray(image, "float32")
    except (TypeError, ValueError) as error:
        raise ValueError(f"visualize: `image` must hold numbers. Received: {error}") from error
    batch = batch[None] if batch.ndim == 3 else batch
    if batch.ndim != 4 or len(batch) != 1 or not batch.size:
        raise ValueError(
            "visualize: `image` must be one image, (height, width, channels). "
            f"Received: shape {np.shape(image)}"
        )
    return batch[0] if data_format == "channels_last" else np.moveaxis(batch[0], 0, -1), batch


def _check_one_input(model: keras.layers.Layer, image: Any) -> None:
    """Check that a model takes one image: the maps are drawn over it."""
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) > 1 or isinstance(image, dict):
        names = f" {', '.join(one.name for one in inputs)}" if inputs else ""
        raise ValueError(
            "visualize: a model of one image is drawn; `attention_maps` takes lists and "
            f"dictionaries of inputs. Received: {getattr(model, 'name', model)!r} of the inputs"
            f"{names}, image={type(image).__name__}"
        )


def _check_query(query: Any, picture: np.ndarray) -> None:
    if query is None or isinstance(query, Integral):
        return
    size = picture.shape[:2]
    pair = isinstance(query, (tuple, list)) and len(query) == 2
    pair = pair and all(isinstance(q, Integral) for q in query)
    if not pair or not all(0 <= q < length for q, length in zip(query, size, strict=True)):
        raise ValueError(
            "visualize: `query` must be (row, column) of a pixel of the image of "
            f"{size[0]} x {size[1]}, or the number of a query. Received: query={query!r}"
        )


def _choose(recorded: dict[str, Recorded], path: str) -> Recorded:
    if path not in recorded:
        nearest = get_close_matches(str(path), recorded, n=1)
        hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(
            f"visualize: `layer` must be one of {', '.join(map(repr, recorded))}. {hint}"
            f"Received: layer={path!r}"
        )
    return recorded[path]


# With matplotlib.


def show_image(axes: Axes, image: np.ndarray, grey: bool = False) -> None:
    """Draw an image, (H, W, C), from its darkest to its brightest value.

    The mean of the channels is drawn if `grey` is set, or if there are not three channels.
    """
    if grey or image.shape[-1] != 3:
        image = image.mean(axis=-1)
    low, high = float(image.min()), float(image.max())
    axes.imshow((image - low) / ((high - low) or 1.0), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])


def show_weights(
    axes: Axes,
    image: np.ndarray,
    weights: np.ndarray,
    low: float | None = None,
    high: float | None = None,
) -> AxesImage:
    """Draw weights, a grid (rows, columns), in colour over an image; return matplotlib's image."""
    show_image(axes, image, grey=True)
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    return axes.imshow(weights, cmap="viridis", alpha=0.65, extent=extent, vmin=low, vmax=high)


def show_bars(axes: Axes, weights: np.ndarray, high: float | None = None) -> None:
    """Draw one bar for each weight; the axis ends at `high`, or at the largest weight."""
    axes.bar(np.arange(len(weights)), weights, color="tab:blue", width=1.0)
    axes.set_ylim(min(0.0, float(weights.min())), high)
    axes.set_xlim(-0.5, len(weights) - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)


Panels = dict[str, np.ndarray]


def _draw(figure: Figure, image: np.ndarray, drawings: dict[str, Drawing]) -> Figure:
    """Draw each map in a part of its own, in several rows where it has many panels."""
    counts = [min(len(drawing.panels), MAX_PANELS) for drawing in drawings.values()]
    columns = 1 + min(max(counts), MAX_COLUMNS)  # the image is one more
    width = max(PANEL_WIDTH, ROW_WIDTH / columns)
    heights = []
    for drawing, count in zip(drawings.values(), counts, strict=True):
        with_image = drawing.kind == "image"
        row = width * image.shape[0] / image.shape[1] + 0.2 if with_image else PANEL_WIDTH + 0.4
        heights.append(row * ceil((count + with_image) / columns) + 0.5)
    figure.set_size_inches(width * columns + 0.6, sum(heights))
    parts = figure.subfigures(len(drawings), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (title, drawing), count in zip(parts, drawings.items(), counts, strict=True):
        panels = dict(list(drawing.panels.items())[:count])
        left_out = "" if count == len(drawing.panels) else f" ({count} of {len(drawing.panels)})"
        part.suptitle(f"{title}\n{drawing.what}{left_out}", x=0.01, ha="left", fontsize=9)
        DRAW[drawing.kind](part, image, drawing, panels, columns)
    return figure


def _draw_over_image(
    part: FigureBase, image: np.ndarray, drawing: Drawing, panels: Panels, columns: int
) -> None:
    original, *places = _plots(part, ["image", *panels], columns, fill=False)
    show_image(original, image)
    low = min(np.nanmin(weights) for weights in panels.values())
    high = max(np.nanmax(weights) for weights in panels.values())
    for axes, weights in zip(places, panels.values(), strict=True):
        drawn = show_weights(axes, image, weights, low, high)
    if drawing.frame:
        for axes in (original, *places):
            show_frame(axes, image, *drawing.frame)
    _color_bar(part, drawn, places)


def show_frame(axes: Axes, image: np.ndarray, cell: tuple[int, int], grid: tuple[int, int]) -> None:
    """Frame a cell of a grid over the image."""
    from matplotlib.patches import Rectangle

    height, width = image.shape[0] / grid[0], image.shape[1] / grid[1]
    corner = cell[1] * width - 0.5, cell[0] * height - 0.5
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="red", linewidth=1.5))


def _draw_bars(
    part: FigureBase, image: np.ndarray, drawing: Drawing, panels: Panels, columns: int
) -> None:
    high = max(drawing.top, *(weights.max() for weights in panels.values()))
    for axes, weights in zip(_plots(part, panels, columns), panels.values(), strict=True):
        show_bars(axes, weights, high)
        axes.set_xlabel(drawing.columns, fontsize=8)


def _draw_stack(
    part: FigureBase, image: np.ndarray, drawing: Drawing, panels: Panels, columns: int
) -> None:
    (axes,) = _plots(part, panels, columns)
    (branches,) = panels.values()
    bottom = np.zeros_like(branches[0])
    for number, weights in enumerate(branches):
        places = np.arange(len(weights))
        axes.bar(places, weights, bottom=bottom, width=1.0, label=f"{drawing.rows} {number}")
        bottom = bottom + weights
    axes.set(xlim=(-0.5, len(bottom) - 0.5), ylim=(0, bottom.max()))
    axes.set_xlabel(drawing.columns, fontsize=8)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)


def _draw_matrices(
    part: FigureBase, image: np.ndarray, drawing: Drawing, panels: Panels, columns: int
) -> None:
    low = min(weights.min() for weights in panels.values())
    high = max(weights.max() for weights in panels.values())
    places = _plots(part, panels, columns, fill=False)
    for axes, weights in zip(places, panels.values(), strict=True):
        drawn = axes.imshow(weights, cmap="viridis", vmin=low, vmax=high)
        axes.set_xlabel(drawing.columns, fontsize=8)
    places[0].set_ylabel(drawing.rows, fontsize=8)
    _color_bar(part, drawn, places)


def _color_bar(part: FigureBase, drawn: AxesImage, places: Sequence[Axes]) -> None:
    part.colorbar(drawn, ax=places, aspect=12, pad=0.01).ax.tick_params(labelsize=7)


def _plots(
    part: FigureBase, labels: Collection[str], columns: int, fill: bool = True
) -> list[Axes]:
    """Return axes for each label, at most `columns` in a row.

    If there are fewer, they fill the row (`fill`), or stay as wide as `columns` would be.
    """
    rows, columns = ceil(len(labels) / columns), min(len(labels), columns) if fill else columns
    grid = part.add_gridspec(rows, columns)
    plots = [part.add_subplot(grid[divmod(i, columns)]) for i in range(len(labels))]
    for axes, label in zip(plots, labels, strict=True):
        axes.set_title(label, fontsize=8)
        axes.tick_params(labelsize=7)
    return plots


DRAW: dict[str, Callable[..., None]] = {
    "image": _draw_over_image,
    "bars": _draw_bars,
    "stack": _draw_stack,
    "matrix": _draw_matrices,
}
"""The functions that draw the panels of a map, by the kind of the drawing."""
