"""Weights from the authors' PyTorch code."""

from attn_core._weights.loader import Loaded as Loaded
from attn_core._weights.loader import load_torch_weights as load_torch_weights
