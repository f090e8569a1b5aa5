"""Attention mechanisms as Keras 3 layers, proven against their authors' code."""

from attn_core._backend import launched_as_command, require_backend
from attn_core._version import __version__

if launched_as_command():
    __all__ = ["__version__"]
else:
    require_backend()

    from attn_core import layers
    from attn_core.layers import *  # noqa: F403
    from attn_core.tools.insertion import insert_attention
    from attn_core.tools.maps import attention_maps
    from attn_core.tools.pictures import visualize
    from attn_core.tools.profiling import Profile, profile
    from attn_core.weights import load_torch_weights

    __all__ = [
        "Profile",
        "__version__",
        "attention_maps",
        "insert_attention",
        "layers",
        "load_torch_weights",
        "profile",
        "visualize",
        *layers.__all__,
    ]
