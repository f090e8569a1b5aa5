"""Tests of attn_tf: collected where it is installed and Keras runs on TensorFlow.

The folder is not called "tensorflow": tests/ is on sys.path, and a folder of that name would look
like an installed TensorFlow where there is none.
"""

from importlib.util import find_spec

import keras

usable = keras.config.backend() == "tensorflow" and find_spec("attn_tf") is not None
collect_ignore_glob = [] if usable else ["test_*.py"]
