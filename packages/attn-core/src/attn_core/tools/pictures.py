"""`visualize`: pictures of what the attention layers of a model weigh."""

from difflib import get_close_matches
from math import ceil
from numbers import Integral

import keras
import numpy as np

from attn_core.tools.drawings import Drawing, describe
from attn_core.tools.maps import Recorded, record

COLUMNS = 6
"""Most pictures of one map side by side, besides the image."""
LIMIT = 12
"""Most pictures of one map."""
WIDTH = 1.7
"""Of one picture, in inches, where there are many."""
LEAST = 6.8
"""Width of a line of them."""


def visualize(model, image, *, layer=None, head=None, query=None, data_format=None):
    """Draw the map of every attention layer in a model, or of one, for an image.

    What is drawn follows from what a map is. Gates of channels are bars. Gates that differ by
    position lie over the image, their mean over the channels. Attention lies over the image too,
    head by head: how much the position of the query, framed in red, takes from each of the others.
    Where the queries are no positions (classes, say) or the keys are none (memory slots), there is
    one picture for each of them. Weights of branches are stacked bars; the rest, channels that
    attend to channels say, are matrices. Of many pictures of one map the first 12 are drawn.

    Args:
        model: A Keras model that takes one image, or a layer.
        image: What the model takes, scaled as it wants it: `(H, W, C)`, or a batch of one.
        layer: Path of the layer to draw, as in `attention_maps`; `None` draws all.
        head: The one head to draw, counted from 0; of a gate that differs by position and channel
            the one channel, or group of channels. `None` draws all heads, and the mean of a gate.
        query: Whose attention to draw: `(row, column)` of a pixel of the image, or the number of a
            query, counted from 0: a class or a class token, say. `None` is the pixel in the middle.
            Maps without queries ignore it.
        data_format: That of the image, "channels_last" or "channels_first". Default:
            `keras.config.image_data_format()`.

    Returns:
        A `matplotlib.figure.Figure`: `figure.savefig("maps.png")`.

    Raises:
        ValueError: If the image is none, there is no such layer, head or query, or no layer of the
            model has a map.
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


def prepare(model, image, layer=None, query=None, data_format=None):
    """Check what `visualize` was given; return the image, (H, W, C), and what `record` left."""
    picture, inputs = _as_picture(image, data_format)
    _check_query(query, picture)
    recorded = record(model, inputs)
    return picture, recorded if layer is None else {layer: _choose(recorded, layer)}


def draw(picture: np.ndarray, recorded: dict[str, Recorded], head=None, query=None):
    """Return the figure of what `prepare` returned."""
    drawings = {}
    for path, one in recorded.items():
        count = len(one.each)
        for index in range(count):
            which = f", map {index + 1} of {count}" if count > 1 else ""
            title = f"{path} ({type(one.layer).__name__}){which}"
            drawings[title] = describe(one, index, picture.shape[:2], head, query)
    return _draw(_new_figure(), picture, drawings)


def _new_figure():
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "attn-core[demo]"') from error
    return Figure(layout="constrained")


def _as_picture(image, data_format) -> tuple[np.ndarray, np.ndarray]:
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


def _check_query(query, picture: np.ndarray) -> None:
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


def show_image(axes, image: np.ndarray, grey: bool = False) -> None:
    """Draw an image, (H, W, C), from its darkest to its brightest value.

    Grey, and where it is neither grey nor RGB, it is the mean of its channels.
    """
    if grey or image.shape[-1] != 3:
        image = image.mean(axis=-1)
    low, high = float(image.min()), float(image.max())
    axes.imshow((image - low) / ((high - low) or 1.0), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])


def show_weights(axes, image: np.ndarray, weights: np.ndarray, low=None, high=None):
    """Draw weights, a grid (rows, columns), in colour over an image; return matplotlib's image."""
    show_image(axes, image, grey=True)
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    return axes.imshow(weights, cmap="viridis", alpha=0.65, extent=extent, vmin=low, vmax=high)


def show_bars(axes, weights: np.ndarray, high: float | None = None) -> None:
    """Draw one bar for each weight, from 0, or the lowest, to `high`, or the highest."""
    axes.bar(np.arange(len(weights)), weights, color="tab:blue", width=1.0)
    axes.set_ylim(min(0.0, float(weights.min())), high)
    axes.set_xlim(-0.5, len(weights) - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw(figure, image: np.ndarray, drawings: dict[str, Drawing]):
    """Draw each map in a row of its own, of several lines where it has many pictures."""
    counts = [min(len(drawing.panels), LIMIT) for drawing in drawings.values()]
    columns = 1 + min(max(counts), COLUMNS)  # the image is one more
    width = max(WIDTH, LEAST / columns)
    heights = []
    for drawing, count in zip(drawings.values(), counts, strict=True):
        over = drawing.kind == "image"
        line = width * image.shape[0] / image.shape[1] + 0.2 if over else WIDTH + 0.4
        heights.append(line * ceil((count + over) / columns) + 0.5)
    figure.set_size_inches(width * columns + 0.6, sum(heights))
    parts = figure.subfigures(len(drawings), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (title, drawing), count in zip(parts, drawings.items(), counts, strict=True):
        panels = dict(list(drawing.panels.items())[:count])
        left_out = "" if count == len(drawing.panels) else f" ({count} of {len(drawing.panels)})"
        part.suptitle(f"{title}\n{drawing.what}{left_out}", x=0.01, ha="left", fontsize=9)
        DRAW[drawing.kind](part, image, drawing, panels, columns)
    return figure


def _draw_over_image(part, image, drawing: Drawing, panels: dict, columns: int) -> None:
    original, *places = _plots(part, ["image", *panels], columns, fill=False)
    show_image(original, image)
    low = min(np.nanmin(weights) for weights in panels.values())
    high = max(np.nanmax(weights) for weights in panels.values())
    for axes, weights in zip(places, panels.values(), strict=True):
        drawn = show_weights(axes, image, weights, low, high)
    if drawing.frame:
        for axes in (original, *places):
            _frame(axes, image, *drawing.frame)
    _color_bar(part, drawn, places)


def _frame(axes, image, cell, grid) -> None:
    """Frame a cell of a grid over the image."""
    from matplotlib.patches import Rectangle

    height, width = image.shape[0] / grid[0], image.shape[1] / grid[1]
    corner = cell[1] * width - 0.5, cell[0] * height - 0.5
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="red", linewidth=1.5))


def _draw_bars(part, image, drawing: Drawing, panels: dict, columns: int) -> None:
    high = max(drawing.top, *(weights.max() for weights in panels.values()))
    for axes, weights in zip(_plots(part, panels, columns), panels.values(), strict=True):
        show_bars(axes, weights, high)
        axes.set_xlabel(drawing.columns, fontsize=8)


def _draw_stack(part, image, drawing: Drawing, panels: dict, columns: int) -> None:
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


def _draw_matrices(part, image, drawing: Drawing, panels: dict, columns: int) -> None:
    low = min(weights.min() for weights in panels.values())
    high = max(weights.max() for weights in panels.values())
    places = _plots(part, panels, columns, fill=False)
    for axes, weights in zip(places, panels.values(), strict=True):
        drawn = axes.imshow(weights, cmap="viridis", vmin=low, vmax=high)
        axes.set_xlabel(drawing.columns, fontsize=8)
    places[0].set_ylabel(drawing.rows, fontsize=8)
    _color_bar(part, drawn, places)


def _color_bar(part, drawn, places) -> None:
    part.colorbar(drawn, ax=places, aspect=12, pad=0.01).ax.tick_params(labelsize=7)


def _plots(part, labels, columns: int, fill: bool = True) -> list:
    """Return axes for each label, at most `columns` in a line; fewer fill it, or are no wider."""
    lines, columns = ceil(len(labels) / columns), min(len(labels), columns) if fill else columns
    grid = part.add_gridspec(lines, columns)
    plots = [part.add_subplot(grid[divmod(i, columns)]) for i in range(len(labels))]
    for axes, label in zip(plots, labels, strict=True):
        axes.set_title(label, fontsize=8)
        axes.tick_params(labelsize=7)
    return plots


DRAW = {
    "image": _draw_over_image,
    "bars": _draw_bars,
    "stack": _draw_stack,
    "matrix": _draw_matrices,
}
