"""Importing this module fails, with advice, where Keras runs on another backend."""

import attn_core  # noqa: F401 - explains a configured backend that is not installed
import keras

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"attn_tf needs Keras to run on TensorFlow. Received: Keras on {keras.config.backend()!r}. "
        "Choose TensorFlow before Keras is imported:\n\n"
        "    export KERAS_BACKEND=tensorflow\n\n"
        '(in Python: import os; os.environ["KERAS_BACKEND"] = "tensorflow", above every other '
        "import). The layers and networks of attn_core run on every backend."
    )
