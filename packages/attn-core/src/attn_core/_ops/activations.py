"""Activations, computed as is fastest on each backend."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from attn_core._ops.lowering import jax_on_cpu, writes_gelu
from attn_core._ops.precision import cast, upcast
from attn_core._typing import Tensor


def gelu(x: Tensor) -> Tensor:
    """Return x * Phi(x), the exact form, with erf as PyTorch computes it.

    JAX and TensorFlow have erfc, which on CPUs is several operations over the image, and which ONNX
    does not know. On two CPU cores MBConv of 8x14x14x256 takes 15.0 ms with erfc and 7.4 ms with
    erf on JAX, a training step 36 and 32 ms; on TensorFlow gelu of 8x14x14x1024 1.8 and 0.9 ms
    compiled, 4.8 and 3.0 ms not. Below -3, where the result is greater than -0.005, erf is exact to
    4e-7 only.
    """
    if not writes_gelu():
        return ops.gelu(x, approximate=False)
    precise = upcast(x)
    return cast(0.5 * precise * (1 + _erf(precise * 0.5**0.5)), x.dtype)


def _erf(x: Tensor) -> Tensor:
    if jax_on_cpu() and not str(x.dtype).endswith("float64"):
        from attn_core._ops import kernels_jax  # here: it loads parts of JAX that Keras does not

        return kernels_jax.erf(x)
    return ops.erf(x)


def get(activation: Any) -> Callable[[Tensor], Tensor]:
    """Return what `keras.activations.get` does, with the gelu above, which has the same name."""
    found = keras.activations.get(activation)
    return gelu if found is keras.activations.gelu else found
