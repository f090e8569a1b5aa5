"""The pictures of the home page: a photograph with a map over it, or beside the chart of a map.

One photograph, and what eight mechanisms see in it, opens the page; each card has such a picture.
"""

from html import escape
from io import BytesIO

import numpy as np
from attn_core import catalog
from attn_core._tools import pictures
from attn_core._tools.drawings import Drawing
from matplotlib.figure import Figure
from PIL import Image

EIGHT = {
    "dot-product": (0, "where the framed position looks"),
    "criss-cross": (0, "it looks at its row and its column"),
    "window": (0, "it looks at its window"),
    "neighborhood": (0, "it looks at its neighbours"),
    "cbam": (1, "a factor for each position"),
    "coordinate": (0, "a factor for each row"),
    "external": (0, "where one memory slot looks"),
    "residual": (0, "where one class looks"),
}
"""The mechanisms, the number of the map that is drawn, and what it is."""
SIZE = (256, 384)
"""Height and width of each picture."""
PICTURES, PHOTOGRAPH, CARDS = "eight", "photograph", "cards"
"""The folder of the eight beside the maps, the name of the photograph alone, the folder of all."""


def weights(drawing: Drawing) -> np.ndarray:
    """Return the mean over the heads, or the panel with the strongest contrast."""
    panels = list(drawing.panels.values())
    if next(iter(drawing.panels)).startswith("head"):
        return np.mean(panels, axis=0)
    return max(panels, key=np.nanstd)


def picture(photograph: np.ndarray, drawing: Drawing | None = None) -> bytes:
    """Return a photograph as WebP, with a map over it, or beside a map that has no positions."""
    figure = Figure(figsize=(SIZE[1] / 100, SIZE[0] / 100), dpi=100)
    if drawing and drawing.kind != "image":
        chart(figure, photograph, drawing)
    else:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        if drawing is None:
            pictures.show_image(axes, photograph)
        else:
            pictures.show_weights(axes, photograph, weights(drawing))
        if drawing and drawing.frame:
            pictures.show_frame(axes, photograph, *drawing.frame)
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").save(small, "webp", quality=80)
    return small.getvalue()


def chart(figure: Figure, photograph: np.ndarray, drawing: Drawing) -> None:
    """Draw the left part of a photograph, and beside it the first panel of a map as a chart."""
    axes = figure.add_axes((0, 0, 0.5, 1))
    axes.set_axis_off()
    pictures.show_image(axes, photograph[:, SIZE[1] // 8 : SIZE[1] * 5 // 8])
    axes = figure.add_axes((0.54, 0.2, 0.42, 0.6))
    panel = next(iter(drawing.panels.values()))
    if drawing.kind == "bars":
        pictures.show_bars(axes, panel, max(drawing.top, panel.max()))
    elif drawing.kind == "stack":
        axes.stackplot(np.arange(panel.shape[1]), *panel, step="mid")
        axes.margins(0)
    else:
        axes.imshow(panel, cmap="viridis", aspect="auto")
    axes.set(xticks=[], yticks=[])


def section() -> str:
    """Return the photograph and the eight pictures, in HTML."""
    tiles = [f"<div>{_image(PHOTOGRAPH, 'A pavilion')}<b>The photograph</b></div>"]
    for key, (_, what) in EIGHT.items():
        name = escape(catalog.get(key).name)
        text = f"{_image(key, f'{name} on the photograph: {what}')}<b>{name}</b>"
        tiles.append(f'<a href="mechanisms/{key}.html">{text}<small>{what}</small></a>')
    return '<div class="eight">\n' + "\n".join(tiles) + "\n</div>"


def _image(name: str, text: str) -> str:
    height, width = SIZE
    source = f'src="maps/{PICTURES}/{name}.webp"'
    return f'<img {source} alt="{text}" width="{width}" height="{height}">'
