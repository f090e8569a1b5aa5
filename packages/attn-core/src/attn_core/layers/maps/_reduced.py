"""What agent and focused linear attention share: their linear maps and the smaller image."""

from typing import Any, ClassVar

import keras

from attn_core import _checks as checks
from attn_core._ops.tokens import to_tokens
from attn_core._typing import Tensor, TorchNames
from attn_core.layers._base import ImageLayer, Split
from attn_core.layers._children import child, dense
from attn_core.layers._normalization import LayerNormalization


class ReducedImageLayer(ImageLayer):
    """Base of the layers whose keys and values may come from a smaller image, of a fixed size."""

    split: ClassVar[dict[str, Split]] = {
        "query": "heads",
        "key_value": "heads",
        "project": "head inputs",
        "reduce": "inputs",
    }

    def __init__(self, num_heads: int, sr_ratio: int, qkv_bias: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = checks.integer(self, "num_heads", num_heads)
        self.sr_ratio: int = checks.integer(self, "sr_ratio", sr_ratio)
        self.qkv_bias: bool = checks.flag(self, "qkv_bias", qkv_bias)

    def _build_maps(self, height: int, width: int, channels: int) -> None:
        """Create the linear maps and the reduction of an image of a size."""
        checks.divisible(self, "the number of channels", channels, "num_heads", self.num_heads)
        self.size: tuple[int, int] = (height, width)
        self.source_size: tuple[int, int] = (
            checks.divisible(self, "the height", height, "sr_ratio", self.sr_ratio),
            checks.divisible(self, "the width", width, "sr_ratio", self.sr_ratio),
        )
        bias = {"use_bias": self.qkv_bias}
        self.query: keras.layers.Dense = dense(self, channels, channels, "query", **bias)
        self.key_value: keras.layers.Dense = dense(
            self, channels, 2 * channels, "key_value", **bias
        )
        self.project: keras.layers.Dense = dense(self, channels, channels, "project")
        self.reduce: keras.layers.Conv2D | None = None
        if self.sr_ratio > 1:
            self.reduce = child(
                self,
                keras.layers.Conv2D,
                channels,
                self.sr_ratio,
                shape=(None, None, None, channels),
                strides=self.sr_ratio,
                data_format="channels_last",
                name="reduce",
            )
            self.reduce_norm: LayerNormalization = child(
                self,
                LayerNormalization,
                shape=(None, channels),
                epsilon=1e-5,
                name="reduce_norm",
            )

    def _keys_and_values(self, image: Tensor) -> Tensor:
        """Return the keys and values of an image, or of the smaller one, `(B, keys, 2 C)`."""
        if self.reduce is None:
            return to_tokens(self.key_value(image))
        return self.key_value(self.reduce_norm(to_tokens(self.reduce(image))))

    def torch_names(self) -> TorchNames:
        """Name the parameters as both of the authors' classes do."""
        names = {"q": self.query, "kv": self.key_value, "proj": self.project}
        if self.reduce is not None:
            names |= {"sr": self.reduce, "norm": self.reduce_norm}
        return names
