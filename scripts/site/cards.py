"""A card for each mechanism, and one for the site: the picture that a link elsewhere shows."""

import textwrap
from pathlib import Path

from attn_core import catalog
from matplotlib.figure import Figure

from scripts.site.recorded_results import SOURCES, worst

INCHES, DPI = (12, 6.3), 100
"""1200 x 630 pixels, as such pictures are shown."""
DARK, LIGHT, BRIGHT = "#1d2050", "#ffffff", "#ffd35c"


def write(folder: Path) -> None:
    """Write all cards."""
    folder.mkdir()
    about = (
        f"{len(catalog.MECHANISMS)} attention mechanisms as Keras 3 layers, with measured errors"
    )
    card("attn", about, "TensorFlow, JAX, PyTorch").savefig(folder / "site.png", dpi=DPI)
    for one in catalog.MECHANISMS:
        known = worst(tuple(one.layers))
        error = f", largest error {max(known.values()):.0e}" if known else ""
        foot = f"{one.published}   |   {SOURCES[one.evidence][0]}{error}"
        card(one.name, one.summary, foot).savefig(folder / f"{one.key}.png", dpi=DPI)


def card(title: str, text: str, foot: str) -> Figure:
    """Return a card with a title, a sentence and a line below."""
    figure = Figure(figsize=INCHES, facecolor=DARK)
    lines = textwrap.fill(title, 26)
    size = 54 if "\n" not in lines else 44
    options = {"ha": "left", "color": LIGHT}
    figure.text(0.06, 0.86, "attn", color=BRIGHT, fontsize=26, weight="bold")
    figure.text(0.06, 0.78, lines, va="top", fontsize=size, weight="bold", **options)
    figure.text(0.06, 0.42, textwrap.fill(text, 50), va="top", fontsize=28, **options)
    figure.text(0.06, 0.08, foot, fontsize=20, color=BRIGHT)
    return figure
