"""Forward passes and training steps on the backend at hand, eager or compiled, to be timed.

Nothing imports a backend until a step is asked for; then it is the one that Keras runs on.
"""

from collections.abc import Callable
from importlib import import_module

import keras
from keras import ops

LEARNING_RATE = 1e-6
"""So small that hundreds of steps on random data lead nowhere."""


def forward_step(layer: keras.layers.Layer, x, compiled: bool) -> Callable[[], object]:
    """Return a function that runs a built layer or model on `x` and waits for the result."""
    return _backend()(layer, ops.convert_to_tensor(x), compiled)[0]


def training_step(layer: keras.layers.Layer, x, compiled: bool) -> Callable[[], object]:
    """Return a function that takes a step of gradient descent, and waits until it is done.

    The loss is the mean square of the output. A layer stands inside a network, so that the gradient
    of its input is computed too; that of a model's input is not. The step changes the weights; the
    function returns them, and the gradient of the input where there is one.
    """
    return _backend()(layer, ops.convert_to_tensor(x), compiled)[1]


def _backend():
    return {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[keras.config.backend()]


def _loss(outputs):
    outputs = [ops.cast(one, "float32") for one in keras.tree.flatten(outputs)]
    return sum(ops.mean(ops.square(one)) for one in outputs)


def _inside(layer) -> bool:
    return not isinstance(layer, keras.Model)


def _mode(layer, training: bool) -> dict:
    return {"training": training} if layer._call_has_training_arg else {}


def _jax(layer, x, compiled):
    jax = import_module("jax")
    compiler = jax.jit if compiled else lambda function: function
    state = [
        [v.value for v in layer.trainable_variables],
        [v.value for v in layer.non_trainable_variables],
    ]

    @compiler
    def infer(weights, others, x):
        return layer.stateless_call(weights, others, x, **_mode(layer, False))[0]

    def loss(weights, x, others):
        outputs, others = layer.stateless_call(weights, others, x, **_mode(layer, True))
        return _loss(outputs), others

    wanted = (0, 1) if _inside(layer) else (0,)

    @compiler
    def learn(weights, others, x):
        gradients, others = jax.grad(loss, wanted, has_aux=True)(weights, x, others)
        weights = [w - LEARNING_RATE * g for w, g in zip(weights, gradients[0], strict=True)]
        return weights, others, gradients[1] if _inside(layer) else None

    def forward():
        return jax.block_until_ready(infer(*state, x))

    def train():
        state[0], state[1], gradient = jax.block_until_ready(learn(*state, x))
        return state[0], gradient

    return forward, train


def _tensorflow(layer, x, compiled):
    tf = import_module("tensorflow")
    compiler = tf.function(jit_compile=True) if compiled else lambda function: function
    weights = [v.value for v in layer.trainable_variables]

    @compiler
    def infer(x):
        return layer(x, **_mode(layer, False))

    @compiler
    def learn(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = _loss(layer(x, **_mode(layer, True)))
        leaves = [*weights, x] if _inside(layer) else weights
        gradients = tape.gradient(loss, leaves)
        for weight, gradient in zip(weights, gradients, strict=False):
            if gradient is not None:
                weight.assign_sub(LEARNING_RATE * gradient)
        return gradients[-1] if _inside(layer) else None

    def forward():
        result = infer(x)
        tf.test.experimental.sync_devices()
        return result

    def train():
        gradient = learn(x)
        tf.test.experimental.sync_devices()
        return weights, gradient

    return forward, train


def _torch(layer, x, compiled):
    torch = import_module("torch")
    weights = [v.value for v in layer.trainable_variables]
    x = x.detach().requires_grad_(_inside(layer))

    def call(x, training):
        return layer(x, **_mode(layer, training))

    if compiled:
        with torch.no_grad():
            call(x, False)  # what is decided but once is decided now: its trace would break off
        call = torch.compile(call)
    wait = getattr(torch, x.device.type).synchronize  # returns at once on CPUs

    def forward():
        with torch.no_grad():
            result = call(x, False)
        wait()
        return result

    def train():
        leaves = [*weights, x] if _inside(layer) else weights
        gradients = torch.autograd.grad(_loss(call(x, True)), leaves, allow_unused=True)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=False):
                if gradient is not None:
                    weight.sub_(gradient, alpha=LEARNING_RATE)
        wait()
        return weights, gradients[-1] if _inside(layer) else None

    return forward, train
