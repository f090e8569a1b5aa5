"""Kernels that are not what they seem: quantized to int8, or with LoRA beside them."""

from typing import Any

import keras

from attn_core import _checks as checks


def check_plain(owner: keras.layers.Layer, task: str) -> None:
    """Raise a ValueError if a layer is quantized or has LoRA: numbers must not be written into it.

    Args:
        owner: The layer or model.
        task: What cannot be done, and what to do instead.
    """
    changed = {}
    for layer in owner._flatten_layers():
        mode = layer.quantization_mode or ("LoRA" if getattr(layer, "lora_enabled", False) else "")
        if mode:
            changed[layer.path] = mode
    if changed:
        (path, mode), more = next(iter(changed.items())), len(changed) - 1
        others = f" and {more} more" if more else ""
        raise checks.error(owner, f"{task}.", f"{mode} in {path!r}{others}")


def full_precision(policy: Any) -> Any:
    """Return a dtype policy without its quantization; that of a whole model for a map of them."""
    if isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        policy = policy.default_policy
    if isinstance(policy, keras.dtype_policies.QuantizedDTypePolicy):
        return keras.DTypePolicy(policy.name.partition("_from_")[2])
    return policy
