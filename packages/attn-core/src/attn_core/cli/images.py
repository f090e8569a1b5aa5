"""The image that a command is given, as a model takes it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from typer import BadParameter

SAMPLES = ("china", "flower")
"""Photographs that come with scikit-learn."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels of ImageNet, red, green and blue between 0 and 1: what most classifiers take."""

SCALES = {
    "unit": lambda pixels: pixels / 255,
    "symmetric": lambda pixels: pixels / 127.5 - 1,
    "imagenet": lambda pixels: (pixels / 255 - np.array(MEAN)) / np.array(DEVIATION),
    "raw": lambda pixels: pixels,
}
"""What a model wants instead of 0 to 255."""


def open_image(name: str) -> Image.Image:
    """Return the image in a file, or a sample, in RGB."""
    if name in SAMPLES and not Path(name).exists():
        from sklearn.datasets import load_sample_image

        return Image.fromarray(load_sample_image(f"{name}.jpg"))
    try:
        with Image.open(name) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        samples = " or ".join(SAMPLES)
        raise BadParameter(f"there is no image {name!r}; {samples} would be a sample.") from None
    except UnidentifiedImageError:
        raise BadParameter(f"{name!r} is not an image that can be read.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadParameter(f"the image {name!r} cannot be read: {error}") from error


def as_array(image: Image.Image, height: int, width: int, channels: int, scale: str) -> np.ndarray:
    """Return an image as (H, W, C) of the size and scale that a model takes."""
    if channels not in (1, 3) or (channels == 1 and scale == "imagenet"):
        kinds = "RGB images" if channels == 3 or scale == "imagenet" else "RGB or grey images"
        raise BadParameter(f"the model takes images of {channels} channels, not {kinds}.")
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image.convert("L") if channels == 1 else image, "float32")
    return SCALES[scale](pixels.reshape(height, width, channels)).astype("float32")
