"""The dense layer that is never quantized."""

import keras


@keras.saving.register_keras_serializable(package="attn_core")
class Dense(keras.layers.Dense):
    """A `keras.layers.Dense` that stays as it is when a model is quantized.

    It stands where the layer around computes with its kernel, which in int8 means nothing without
    its scale, or asks for float32 whatever the policy.
    """

    def quantize(self, mode=None, type_check=True, config=None):
        """Refuse: `keras.Model.quantize` warns, and goes on."""
        raise NotImplementedError(
            f"Dense {self.name!r} is not quantized: the layer around it needs it in full precision."
            f" Received: mode={mode!r}"
        )
