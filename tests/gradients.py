"""Output and gradients of a layer on the backend of this process, as NumPy arrays, in one call."""

import keras
import numpy as np


def value_and_gradients(layer, inputs, cotangent=None, training=False, **call):
    """Run `layer(*inputs, **call)`, and differentiate sum(output * cotangent).

    Compiled on JAX (jit) and TensorFlow (graph), eager on PyTorch. `inputs` holds arrays or None;
    the gradients of the floating ones are returned, and those of the trainable weights. Without a
    cotangent, one of fixed random numbers is drawn.
    """
    return compile_gradients(layer, inputs, cotangent, training, **call)(inputs)


def compile_gradients(layer, inputs, cotangent=None, training=False, **call):
    """Return `value_and_gradients` as a function of inputs like these, to be called repeatedly."""
    if not layer.built:  # build eagerly, outside of any trace
        layer(*(None if x is None else keras.ops.convert_to_tensor(x) for x in inputs), **call)
    wanted = [i for i, x in enumerate(inputs) if x is not None and x.dtype.kind == "f"]
    if layer_takes_training(layer):
        call = {**call, "training": training}
    backend = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[keras.config.backend()]
    run = backend(layer, inputs, wanted, cotangent, call)

    def to_numpy(x):
        return None if x is None else keras.ops.convert_to_numpy(x)

    def compiled(inputs):
        output, *gradients = run([inputs[i] for i in wanted])
        return to_numpy(output), *(list(map(to_numpy, some)) for some in gradients)

    return compiled


def compiled_call(layer, inputs, **call):
    """Return the output of `layer(*inputs, **call)`, in one compiled call on JAX and TensorFlow."""
    inputs = [None if x is None else keras.ops.convert_to_tensor(x) for x in inputs]
    if keras.config.backend() == "jax":
        import jax

        state = [[v.value for v in variables] for variables in
                 (layer.trainable_variables, layer.non_trainable_variables)]  # fmt: skip
        output = jax.jit(lambda *state: layer.stateless_call(*state, *inputs, **call)[0])(*state)
    elif keras.config.backend() == "tensorflow":
        import tensorflow as tf

        output = tf.function(lambda: layer(*inputs, **call))()
    else:
        output = layer(*inputs, **call)
    return keras.ops.convert_to_numpy(output)


def layer_takes_training(layer) -> bool:
    return "training" in layer._call_signature.parameters


def draw_cotangent(shape):
    return np.random.default_rng(7).standard_normal(shape).astype("float32")


def _loss(output, cotangent):
    cotangent = draw_cotangent(output.shape) if cotangent is None else cotangent
    return keras.ops.sum(output * keras.ops.cast(cotangent, output.dtype))


def _jax(layer, inputs, wanted, cotangent, call):
    import jax

    frozen = [v.value for v in layer.non_trainable_variables]

    def loss(weights, floats):
        given = list(inputs)
        for i, value in zip(wanted, floats, strict=True):
            given[i] = value
        output, _ = layer.stateless_call(weights, frozen, *given, **call)
        return _loss(output, cotangent), output

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

    def run(floats):
        weights = [v.value for v in layer.trainable_variables]
        (_, output), (weight_gradients, input_gradients) = compiled(weights, floats)
        return output, input_gradients, weight_gradients

    return run


def _tensorflow(layer, inputs, wanted, cotangent, call):
    import tensorflow as tf

    @tf.function
    def compiled(*floats):
        given = list(inputs)
        for i, value in zip(wanted, floats, strict=True):
            given[i] = value
        with tf.GradientTape() as tape:
            tape.watch(floats)
            output = layer(*given, **call)
            loss = _loss(output, cotangent)
        weights = [v.value for v in layer.trainable_variables]
        gradients = tape.gradient(loss, [*floats, *weights])
        return output, gradients

    def run(floats):
        output, gradients = compiled(*map(tf.constant, floats))
        return output, gradients[: len(wanted)], gradients[len(wanted) :]

    return run


def _torch(layer, inputs, wanted, cotangent, call):
    import torch

    def run(floats):
        given = [None if x is None else torch.as_tensor(x) for x in inputs]
        for i, value in zip(wanted, floats, strict=True):
            given[i] = torch.tensor(value, requires_grad=True)
        output = layer(*given, **call)
        weights = [v.value for v in layer.trainable_variables]
        leaves = [given[i] for i in wanted] + weights
        gradients = torch.autograd.grad(_loss(output, cotangent), leaves, allow_unused=True)
        return output, gradients[: len(wanted)], gradients[len(wanted) :]

    return run
