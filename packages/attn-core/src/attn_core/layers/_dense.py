"""The dense layer that is never quantized."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="attn_core")
class Dense(keras.layers.Dense):
    """A `keras.layers.Dense` that stays as it is when a model is quantized.

    A layer uses it if it reads the kernel directly, because an int8 kernel has no meaning without
    its scale, or if it needs float32 under every dtype policy.
    """

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        """Raise NotImplementedError: `keras.Model.quantize` then warns and continues."""
        raise NotImplementedError(
            f"Dense {self.name!r} is not quantized: the layer around it needs it in full precision."
            f" Received: mode={mode!r}"
        )
