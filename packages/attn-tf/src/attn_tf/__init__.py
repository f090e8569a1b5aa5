"""TensorFlow extras of attn_core: FFT global filters, GFNet on them, tuning, checked export."""

from attn_tf import _backend  # noqa: F401 - first: it fails under another backend
from attn_tf._version import __version__
from attn_tf.exporting import ExportReport, export
from attn_tf.filters import GlobalFilter
from attn_tf.networks import GFNet, GFNetPyramid
from attn_tf.tuning import Setting, Tuning, tune

__all__ = [
    "ExportReport",
    "GFNet",
    "GFNetPyramid",
    "GlobalFilter",
    "Setting",
    "Tuning",
    "__version__",
    "export",
    "tune",
]
