"""Calls without what Keras does around the call of a layer, where that takes longer than the layer.

Where operations run one by one, as on PyTorch, a product of a few numbers takes 14 microseconds and
Keras' call of a dense layer 140.
"""

from typing import Any

import keras

from attn_core._ops.lowering import calls_cost


def taken_as_it_is(layer: keras.layers.Layer, x: Any) -> bool:
    """Return whether Keras would neither build a layer for its input, nor cast or wrap anything."""
    if not (calls_cost() and layer.built and keras.ops.is_tensor(x)):
        return False
    if layer.quantization_mode is not None or getattr(layer, "_remat_mode", None) is not None:
        return False
    policy = layer.dtype_policy
    if (
        policy.compute_dtype != policy.variable_dtype
        or str(x.dtype) != f"torch.{policy.compute_dtype}"
    ):
        return False
    weights = layer.weights  # of another dtype where a layer around has another policy
    return not weights or weights[0].value.dtype == x.dtype


class Sublayer(keras.layers.Layer):
    """Base of the layers that others are made of.

    Before and after `call`, Keras converts what it is given, looks for masks, resolves `training`
    and enters the scope of the dtype policy. The layer around has done so for its parts.
    """

    _asks_for_training = False
    """Whether `call` does another thing in training: then `training` must be passed."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer, directly if Keras would only pass the input on."""
        if len(args) == 1 and kwargs.keys() <= {"training"} and taken_as_it_is(self, args[0]):
            if not self._asks_for_training:
                return self.call(*args)
            if kwargs.get("training") is not None:  # or Keras knows it from the layers around
                return self.call(*args, **kwargs)
        return super().__call__(*args, **kwargs)
