"""The dense layers of all layers."""

from typing import Any

import keras

from attn_core._ops import activations
from attn_core._ops.lowering import jax_on_cpu, on_torch
from attn_core._typing import Tensor
from attn_core.layers._sublayer import Sublayer

if keras.config.backend() == "torch":
    from attn_core._ops import kernels_torch


@keras.saving.register_keras_serializable(package="attn_core")
class Dense(Sublayer, keras.layers.Dense):
    """A `keras.layers.Dense` inside of another layer, as is fastest on each backend.

    Args:
        units: Number of output channels.
        quantizable: Whether it is quantized with the model around it. It is not where the layer
            around reads the kernel directly, because an int8 kernel has no meaning without its
            scale, or needs float32 under every dtype policy.
        activation: As for `keras.layers.Dense`.
        **kwargs: As for `keras.layers.Dense`.
    """

    def __init__(
        self, units: int, *, quantizable: bool = True, activation: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(units, activation=activations.get(activation), **kwargs)
        self.quantizable = quantizable

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Compute activation(x W + b).

        On JAX, positions are one axis: with several, the kernel's gradient takes a transposed copy.
        On one CPU core 8x14x14x256 to 1024, with the gradient, takes 19 instead of 31 ms. Exporters
        trace unknown lengths, which jax2onnx cannot join.
        """
        shape = inputs.shape
        if jax_on_cpu() and len(shape) > 2 and all(isinstance(n, int) for n in shape):
            positions = keras.ops.reshape(inputs, (-1, shape[-1]))
            outputs = super().call(positions, training=training)
            return keras.ops.reshape(outputs, (*shape[:-1], self.units))
        if not on_torch() or self.compute_dtype == "float16":  # CPUs would add up in float16
            return super().call(inputs, training=training)
        kernel = keras.ops.convert_to_tensor(self.kernel)
        bias = None if self.bias is None else keras.ops.convert_to_tensor(self.bias)
        outputs = kernels_torch.dense(inputs, kernel, bias)
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "quantizable": self.quantizable}

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        """Quantize, or raise NotImplementedError: `keras.Model.quantize` then warns and continues.

        Args:
            mode: As for `keras.layers.Dense.quantize`.
            type_check: Whether to refuse subclasses of `keras.layers.Dense`; not this one.
            config: As for `keras.layers.Dense.quantize`.
        """
        if not self.quantizable:
            raise NotImplementedError(
                f"Dense {self.name!r} is not quantized: the layer around it needs it in full "
                f"precision. Received: mode={mode!r}"
            )
        super().quantize(mode, type_check=False, config=config)
