"""A card for each mechanism, and one for the site: the picture that a link elsewhere shows."""

import textwrap
from pathlib import Path

from attn_core import catalog
from matplotlib.figure import Figure
from PIL import Image

from scripts.site import eight, map_pictures
from scripts.site.recorded_results import SOURCES, worst

INCHES, DPI = (12, 6.3), 100
"""1200 x 630 pixels, as such pictures are shown."""
DARK, LIGHT, BRIGHT = "#1d2050", "#ffffff", "#ffd35c"
SITE = "cbam"
"""The mechanism whose picture is on the card of the site."""


def write(folder: Path) -> None:
    """Write all cards."""
    folder.mkdir()
    title = f"{len(catalog.MECHANISMS)} attention mechanisms"
    about = "Keras 3 layers with measured errors, and maps of what they see."
    cards = {"site": card(title, about, "TensorFlow   |   JAX   |   PyTorch", SITE)}
    for one in catalog.MECHANISMS:
        known = worst(tuple(one.layers))
        error = f", largest error {max(known.values()):.0e}" if known else ""
        foot = f"{one.published}   |   {SOURCES[one.evidence][0]}{error}"
        cards[one.key] = card(one.name, one.summary, foot, one.key)
    for name, figure in cards.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI)


def card(title: str, text: str, foot: str, key: str) -> Figure:
    """Return a card: title, sentence, a line below, and the picture of a mechanism."""
    figure = Figure(figsize=INCHES, facecolor=DARK)
    lines = textwrap.fill(title, 26)
    size = 54 if "\n" not in lines else 44
    options = {"ha": "left", "color": LIGHT}
    figure.text(0.06, 0.86, "attn", color=BRIGHT, fontsize=26, weight="bold")
    figure.text(0.06, 0.78, lines, va="top", fontsize=size, weight="bold", **options)
    figure.text(0.06, 0.41, textwrap.fill(text, 38), va="top", fontsize=24, **options)
    figure.text(0.06, 0.08, foot, fontsize=20, color=BRIGHT)
    picture = map_pictures.FOLDER / eight.CARDS / f"{key}.webp"
    if picture.exists():
        axes = figure.add_axes((0.66, 0.08, 0.28, 0.33))
        axes.set_axis_off()
        axes.imshow(Image.open(picture), aspect="auto")
    return figure
