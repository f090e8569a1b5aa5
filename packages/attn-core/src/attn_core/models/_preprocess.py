"""What a checkpoint expects of its images: size, crop, interpolation, mean and deviation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from keras import ops

from attn_core import _checks as checks
from attn_core._typing import Tensor
from attn_core.models._arguments import height_and_width

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's red, green and blue, scaled to 0 to 1."""


@dataclass(frozen=True)
class Preprocess:
    """The preparation of images with which a checkpoint was evaluated; call it on images.

    The shorter side of the image is resized to `size / crop`, and the middle of it is cropped to
    `size`. Its pixels are divided by 255, less `mean`, divided by `std`.

    Attributes:
        size: Height and width of the network's images, one number for both.
        crop: The share of the shorter side that is kept. Above 1, black is added around the image.
        interpolation: "bicubic" or "bilinear", with an average over all pixels that become one, as
            Pillow does.
        mean: Mean of each channel, scaled to 0 to 1.
        std: Standard deviation of each channel, scaled to 0 to 1.
        channels: Order of the channels that the network takes, "RGB" or "BGR".

    Raises:
        ValueError: If an attribute is not as described.

    Example:
        >>> import numpy as np
        >>> preprocess = Preprocess(size=64, crop=0.9)
        >>> tuple(preprocess(np.zeros((100, 120, 3), "uint8")).shape)
        (1, 64, 64, 3)
    """

    size: int | tuple[int, ...]
    crop: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_DEVIATION
    channels: str = "RGB"

    def __post_init__(self) -> None:
        """Check the attributes."""
        colors = partial(checks.sequence, self, length=3)
        checked = {
            "size": height_and_width(self, "size", self.size),
            "crop": checks.positive(self, "crop", self.crop),
            "mean": colors("mean", self.mean, check=checks.number),
            "std": colors("std", self.std, check=checks.positive),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        checks.choice(self, "interpolation", self.interpolation, ("bicubic", "bilinear"))
        checks.choice(self, "channels", self.channels, ("RGB", "BGR"))

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> Self:
        """Return what timm's description of a checkpoint says: its `pretrained_cfg`.

        Args:
            config: The entries `input_size`, `crop_pct`, `interpolation`, `mean` and `std`; the
                file `config.json` beside a checkpoint of timm has them under `pretrained_cfg`.
        """
        wanted = ("input_size", "crop_pct", "interpolation", "mean", "std")
        missing = [name for name in wanted if name not in config]
        if missing or config.get("crop_mode", "center") != "center":
            raise ValueError(
                f"timm's description of a checkpoint must have {', '.join(wanted)}, and no "
                f"`crop_mode` but center. Received: {dict(config)}"
            )
        size, crop, interpolation, mean, std = (config[name] for name in wanted)
        return cls(tuple(size[1:]), crop, interpolation, tuple(mean), tuple(std))

    def __call__(self, images: Tensor) -> Tensor:
        """Return what a network takes.

        Args:
            images: Red, green and blue from 0 to 255: one image, `(H, W, 3)`, or several of one
                size, `(B, H, W, 3)`.

        Returns:
            Real numbers, `(B, *size, 3)`.
        """
        x = ops.cast(ops.convert_to_tensor(images), "float32")
        x = ops.expand_dims(x, 0) if len(x.shape) == 3 else x
        if len(x.shape) != 4 or x.shape[-1] != 3:
            message = "`images` must have the shape (height, width, 3) or (B, height, width, 3)."
            raise checks.error(self, message, f"shape {tuple(images.shape)}")
        if None in x.shape[1:3]:
            message = "the height and width of `images` must be known, also within a model."
            raise checks.error(self, message, f"shape {tuple(images.shape)}")
        x = self._cropped(self._resized(x)) / 255
        x = (x - ops.convert_to_tensor(self.mean, "float32")) / ops.convert_to_tensor(
            self.std, "float32"
        )
        return ops.flip(x, -1) if self.channels == "BGR" else x

    def _resized(self, x: Tensor) -> Tensor:
        """Resize the shorter side, or where the size is no square, both sides alike."""
        height, width = x.shape[1:3]
        rows, columns = (int(side / self.crop) for side in self.size)
        if rows * width >= columns * height:
            size = rows, rows * width // height
        else:
            size = columns * height // width, columns
        x = ops.image.resize(
            x, size, self.interpolation, antialias=True, data_format="channels_last"
        )
        return ops.clip(x, 0.0, 255.0)

    def _cropped(self, x: Tensor) -> Tensor:
        """Return the middle of an image, with black around it where it is too small."""
        for axis, side in enumerate(self.size, 1):
            spare = x.shape[axis] - side
            before = round(abs(spare) / 2) if spare > 0 else -spare // 2
            if spare < 0:
                pads = [(0, 0)] * 4
                pads[axis] = (before, -spare - before)
                x = ops.pad(x, pads)
            elif spare > 0:
                middle = slice(before, before + side)
                x = x[:, middle] if axis == 1 else x[:, :, middle]
        return x

    def __str__(self) -> str:
        """Return the attributes in words."""
        height, width = self.size
        return (
            f"{self.channels} images whose shorter side is resized to "
            f"{int(min(self.size) / self.crop)} pixels ({self.interpolation}) and whose middle, "
            f"{height} x {width}, is cropped; scaled to 0 to 1, less mean {self.mean}, divided by "
            f"std {self.std}"
        )
