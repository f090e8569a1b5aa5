"""Attention mechanisms as Keras 3 layers, proven against their authors' code."""

from attn_core._backend import launched_as_command, require_backend
from attn_core._version import __version__

if launched_as_command():
    __all__ = ["__version__"]
else:
    require_backend()

    from attn_core import layers
    from attn_core.layers import *  # noqa: F403
    from attn_core.weights import load_torch_weights

    __all__ = ["__version__", "layers", "load_torch_weights", *layers.__all__]
