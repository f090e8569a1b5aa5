"""Forward passes and training steps, eager or compiled, to be timed on the backend of Keras.

A backend is imported only when a step is asked for.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, TypeAlias

import keras
from keras import ops

LEARNING_RATE = 1e-6
"""It is so small that hundreds of steps on random data hardly change the weights."""

Step: TypeAlias = Callable[[], Any]
"""Runs one step, and waits until it is done."""


Compiled: TypeAlias = bool | Literal["graph"]
"""Whether to compile a step. "graph" does, but on TensorFlow without XLA."""


def forward_step(layer: keras.layers.Layer, x: Any, compiled: Compiled) -> Step:
    """Return a function that runs a built layer or model on `x` and waits for the result."""
    return _backend()(layer, ops.convert_to_tensor(x), compiled)[0]


def training_step(layer: keras.layers.Layer, x: Any, compiled: Compiled) -> Step:
    """Return a function that takes a step of gradient descent, and waits until it is done.

    The loss is the mean square of the output. A layer is a part of a network, so the gradient of
    its input is computed too; that of a model's input is not. The step changes the weights; the
    function returns them, and the gradient of the input if it was computed.
    """
    return _backend()(layer, ops.convert_to_tensor(x), compiled)[1]


def _backend() -> Callable[[keras.layers.Layer, Any, Compiled], tuple[Step, Step]]:
    return {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[keras.config.backend()]


def _loss(outputs: Any) -> Any:
    outputs = [ops.cast(one, "float32") for one in keras.tree.flatten(outputs)]
    return sum(ops.mean(ops.square(one)) for one in outputs)


def _is_part(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is a part of a network, and not a network itself."""
    return not isinstance(layer, keras.Model)


def _mode(layer: keras.layers.Layer, training: bool) -> dict[str, bool]:
    return {"training": training} if layer._call_has_training_arg else {}


def _jax(layer: keras.layers.Layer, x: Any, compiled: Compiled) -> tuple[Step, Step]:
    jax = import_module("jax")
    compiler = jax.jit if compiled else lambda function: function
    state = [
        [v.value for v in layer.trainable_variables],
        [v.value for v in layer.non_trainable_variables],
    ]

    @compiler
    def infer(weights: Any, others: Any, x: Any) -> Any:
        return layer.stateless_call(weights, others, x, **_mode(layer, False))[0]

    def loss(weights: Any, x: Any, others: Any) -> tuple[Any, Any]:
        outputs, others = layer.stateless_call(weights, others, x, **_mode(layer, True))
        return _loss(outputs), others

    wanted = (0, 1) if _is_part(layer) else (0,)

    @compiler
    def learn(weights: Any, others: Any, x: Any) -> Any:
        gradients, others = jax.grad(loss, wanted, has_aux=True)(weights, x, others)
        weights = [w - LEARNING_RATE * g for w, g in zip(weights, gradients[0], strict=True)]
        return weights, others, gradients[1] if _is_part(layer) else None

    def forward() -> Any:
        return jax.block_until_ready(infer(*state, x))

    def train() -> Any:
        state[0], state[1], gradient = jax.block_until_ready(learn(*state, x))
        return state[0], gradient

    return forward, train


def _tensorflow(layer: keras.layers.Layer, x: Any, compiled: Compiled) -> tuple[Step, Step]:
    tf = import_module("tensorflow")
    compilers = {True: tf.function(jit_compile=True), "graph": tf.function}
    compiler = compilers.get(compiled, lambda function: function)
    weights = [v.value for v in layer.trainable_variables]

    @compiler
    def infer(x: Any) -> Any:
        return layer(x, **_mode(layer, False))

    @compiler
    def learn(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = _loss(layer(x, **_mode(layer, True)))
        leaves = [*weights, x] if _is_part(layer) else weights
        gradients = tape.gradient(loss, leaves)
        for weight, gradient in zip(weights, gradients, strict=False):
            if gradient is not None:
                # A gathered table has a gradient of some rows alone.
                weight.assign_sub(LEARNING_RATE * tf.convert_to_tensor(gradient))
        return gradients[-1] if _is_part(layer) else None

    def forward() -> Any:
        result = infer(x)
        tf.test.experimental.sync_devices()
        return result

    def train() -> Any:
        gradient = learn(x)
        tf.test.experimental.sync_devices()
        return weights, gradient

    return forward, train


def _torch(layer: keras.layers.Layer, x: Any, compiled: Compiled) -> tuple[Step, Step]:
    torch = import_module("torch")
    weights = [v.value for v in layer.trainable_variables]
    x = x.detach().requires_grad_(_is_part(layer))

    def call(x: Any, training: bool) -> Any:
        return layer(x, **_mode(layer, training))

    if compiled:
        with torch.no_grad():
            call(x, False)  # what is computed only once is computed now: it would break the trace
        call = torch.compile(call)
    wait = getattr(torch, x.device.type).synchronize  # returns at once on CPUs

    def forward() -> Any:
        with torch.no_grad():
            result = call(x, False)
        wait()
        return result

    def train() -> Any:
        leaves = [*weights, x] if _is_part(layer) else weights
        gradients = torch.autograd.grad(_loss(call(x, True)), leaves, allow_unused=True)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=False):
                if gradient is not None:
                    weight.sub_(gradient, alpha=LEARNING_RATE)
        wait()
        return weights, gradients[-1] if _is_part(layer) else None

    return forward, train
