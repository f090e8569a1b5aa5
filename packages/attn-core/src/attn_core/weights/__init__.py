"""Weights from the authors' PyTorch code."""

from attn_core.weights.loader import load_torch_weights

__all__ = ["load_torch_weights"]
