"""The image of a command, as a model takes it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from typer import BadParameter, echo

SAMPLES = ("china", "flower")
"""Photographs that come with scikit-learn."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's red, green and blue, scaled to 0 to 1."""

SCALES = {
    "unit": lambda pixels: pixels / 255,
    "symmetric": lambda pixels: pixels / 127.5 - 1,
    "imagenet": lambda pixels: (pixels / 255 - np.array(MEAN)) / np.array(DEVIATION),
    "raw": lambda pixels: pixels,
}
"""The ways to scale pixels of 0 to 255 for a model."""

DARK = 2**12
"""Numbers below may be those of 12 bits or fewer, in a file for 16 bits."""


def open_image(name: str) -> Image.Image:
    """Return the image in a file, or one of the samples, in RGB, transparent parts on white."""
    if name in SAMPLES and not Path(name).exists():
        from sklearn.datasets import load_sample_image

        return Image.fromarray(load_sample_image(f"{name}.jpg"))
    try:
        with Image.open(name) as image:
            return _on_white(_in_8_bits(name, ImageOps.exif_transpose(image))).convert("RGB")
    except FileNotFoundError:
        samples = " or ".join(SAMPLES)
        raise BadParameter(f"there is no image {name!r}; {samples} would be a sample.") from None
    except UnidentifiedImageError:
        raise BadParameter(f"{name!r} is not an image that can be read.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadParameter(f"the image {name!r} cannot be read: {error}") from error


def _in_8_bits(name: str, image: Image.Image) -> Image.Image:
    """Return an image in grey of 16 bits or of real numbers in 8 bits, which Pillow would clip."""
    if not image.mode.startswith(("I", "F")):
        return image
    pixels = np.asarray(image, "float64")
    low, high = float(pixels.min()), float(pixels.max())
    largest = 1 if image.mode.startswith("F") else 65535
    if not (low >= 0 and high <= largest):  # NaN, too
        raise BadParameter(
            f"the image {name!r} holds numbers from {low:g} to {high:g}. It must hold whole "
            "numbers from 0 to 65535, or real numbers from 0 to 1."
        )
    if largest > 1 and 0 < high < DARK:
        numbers = f"{largest} is white, and its largest number is {high:g}"
        echo(f"the image {name!r} is dark: {numbers}.", err=True)
    return Image.fromarray(np.round(pixels * (255 / largest)).astype("uint8"))


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image before a white one: Pillow would show what transparent pixels hide."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def as_array(image: Image.Image, height: int, width: int, channels: int, scale: str) -> np.ndarray:
    """Return an image as (H, W, C) of the size and scale that a model takes."""
    if channels not in (1, 3) or (channels == 1 and scale == "imagenet"):
        kinds = "RGB images" if channels == 3 or scale == "imagenet" else "RGB or grey images"
        raise BadParameter(f"the model takes images of {channels} channels, not {kinds}.")
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image.convert("L") if channels == 1 else image, "float32")
    return SCALES[scale](pixels.reshape(height, width, channels)).astype("float32")
