"""`attn maps`: figures of the attention maps of a saved model, for an image."""

import re
from pathlib import Path

import keras
from PIL import Image
from typer import BadParameter

from attn_core import compat, layers, models  # noqa: F401 - the file may hold any of them
from attn_core._cli.images import as_array
from attn_core._tools.files import replacing
from attn_core._tools.pictures import draw, prepare
from attn_core._weights.archives import check_archive, reason

SIZE = 224, 224
"""Height and width of the image, if the model takes images of any size."""


def save_maps(
    model: keras.Model,
    image: Image.Image,
    out: Path,
    scale: str,
    size: tuple[int, int] | None,
    layer: str | None,
    head: int | None,
    query: int | tuple[int, int] | None,
) -> list[Path]:
    """Draw each attention layer into a file of its own; return the files.

    Args:
        model: The model.
        image: The image, in RGB.
        out: Folder for the figures.
        scale: How the pixels are scaled for the model, one of `images.SCALES`.
        size: Height and width for a model that takes images of any size; `None` = `SIZE`.
        layer: As for `visualize`.
        head: As for `visualize`.
        query: As for `visualize`.
    """
    height, width, channels, data_format = _input(model, size or SIZE)
    pixels = as_array(image, height, width, channels, scale)
    pixels = pixels if data_format == "channels_last" else pixels.transpose(2, 0, 1)
    try:
        picture, recorded = prepare(model, pixels, layer, query, data_format)
        figures = {path: draw(picture, {path: one}, head, query) for path, one in recorded.items()}
    except ValueError as error:
        raise BadParameter(str(error)) from error
    files = []
    for number, (path, figure) in enumerate(figures.items(), 1):
        name = re.sub(r"[^\w.-]+", "-", path)  # paths come from a file, and have slashes
        files.append(out / f"{number:02}-{name}.png")
        with replacing(files[-1]) as unfinished:
            figure.savefig(unfinished, dpi=120)
    return files


def load(path: Path) -> keras.Model:
    """Return the model in a `.keras` file; a file with code in it is refused."""
    try:
        check_archive(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # of any kind: the file may be anything
        raise BadParameter(f"the model {path} cannot be loaded: {reason(error)}") from error


def _input(model: keras.Model, size: tuple[int, int]) -> tuple[int, int, int, str]:
    """Return height, width, channels and data format of the image that a model takes."""
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        received = ", ".join(str(one.shape) for one in inputs) or "inputs of unknown shape"
        raise BadParameter(f"the model must take one image (H, W, C). It takes {received}.")
    shape = inputs[0].shape
    first = shape[1] in (1, 3) and shape[3] not in (1, 3)
    height, width = shape[2:] if first else shape[1:3]
    channels = shape[1] if first else shape[3]
    return height or size[0], width or size[1], channels, f"channels_{'first' if first else 'last'}"
