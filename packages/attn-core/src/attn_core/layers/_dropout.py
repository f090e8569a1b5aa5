"""Dropout inside of the layers."""

import keras

from attn_core.layers._sublayer import Sublayer


@keras.saving.register_keras_serializable(package="attn_core")
class Dropout(Sublayer, keras.layers.Dropout):
    """A `keras.layers.Dropout` inside of another layer."""

    _asks_for_training = True
