"""Time the layers, or their peers, on one backend: lines of JSON in, lines of JSON out.

KERAS_BACKEND=jax python -m benchmarks.peers.worker ours
"""

import copy
import json
import sys
from collections.abc import Callable

import attn_core
import keras
import numpy as np
from attn_core._tools import stepping
from attn_core._tools.profiling import time_step
from attn_core._tools.stepping import forward_step, training_step

from benchmarks.peers import modules
from benchmarks.peers.cases import CASES, Case
from scripts.checks.proof import versions

BACKEND = keras.config.backend()
MODES = {"jax": (True,), "tensorflow": (True, "graph"), "torch": (False,)}
"""How to run a Keras layer on each backend: of several ways, the best counts."""


class SelfAttention(keras.layers.Layer):
    """Keras' own attention, whose queries, keys and values are one sequence."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def build(self, shape):
        """Build the attention for one input."""
        self.attention.build(shape, shape)

    def call(self, x, training=False):
        """Return the self-attention of the input."""
        return self.attention(x, x, training=training)


def layer(case: Case) -> keras.layers.Layer:
    """Return the layer of a case, built."""
    built = getattr(attn_core, case.layer)(**case.arguments)
    built.build(case.shape)
    return built


def keras_peer(case: Case) -> keras.layers.Layer:
    """Return the peer of a case as a Keras layer, built."""
    built = SelfAttention(modules.build(case))
    built.build(case.shape)
    return built


def array(case: Case) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(case.shape).astype("float32")


def keras_forms(built: keras.layers.Layer, case: Case, step: str) -> list[Callable]:
    """Return the ways to run a step of a Keras layer on this backend."""
    make = {"forward": forward_step, "training": training_step}[step]
    return [make(built, array(case), mode) for mode in MODES[BACKEND]]


def module_forms(case: Case, step: str) -> list[Callable]:
    """Return the ways to run a step of a PyTorch module: on both layouts of images in memory."""
    import torch

    x = torch.tensor(array(case))
    module = modules.build(case).train(step == "training")
    if case.call != "channels first":
        return [module_form(module, case, x, step)]
    x, found = x.permute(0, 3, 1, 2), []
    for layout in (torch.contiguous_format, torch.channels_last):
        twin = copy.deepcopy(module)
        for weight in twin.parameters():
            if weight.ndim == 4:  # not the 3D convolution of lambda layers
                weight.data = weight.data.contiguous(memory_format=layout)
        found.append(module_form(twin, case, x.contiguous(memory_format=layout), step))
    return found


def module_form(module, case: Case, x, step: str) -> Callable:
    """Return a step of a PyTorch module that does what `stepping` does with a layer."""
    import torch

    call = modules.CALLS[case.call]
    weights = list(module.parameters())

    @torch.no_grad()
    def forward():
        return call(module, x)

    def train():
        inputs = x.detach().requires_grad_()
        loss = call(module, inputs).square().mean()
        gradients = torch.autograd.grad(loss, [*weights, inputs], allow_unused=True)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=False):
                if gradient is not None:
                    weight.sub_(gradient, alpha=stepping.LEARNING_RATE)
        return gradients[-1]

    return {"forward": forward, "training": train}[step]


def forms(side: str, case: Case, step: str) -> list[Callable]:
    """Return the ways to run a step of one side, ours or the peer, after a first call of each."""
    if side == "ours":
        made = keras_forms(layer(case), case, step)
    elif case.library == "keras":
        made = keras_forms(keras_peer(case), case, step)
    else:
        made = module_forms(case, step)
    for one in made:
        one()
    return made


def difference(case: Case) -> float:
    """Return the largest difference of both outputs, with the same weights, on PyTorch.

    It is relative to the largest output of the peer.
    """
    import torch

    ours, x = layer(case), torch.tensor(array(case))
    with torch.no_grad():
        if case.library == "keras":
            peer = keras_peer(case)
            stir([weight.value for weight in peer.weights])
            pairs = zip(peer.get_weights(), ours.weights, strict=True)
            ours.set_weights([value.reshape(weight.shape) for value, weight in pairs])
            expected = peer(x)
        else:
            module = modules.build(case).eval()
            stir(module.parameters())
            attn_core.load_torch_weights(ours, modules.state_dict(case, module))
            expected = modules.CALLS[case.call](module, modules.received(case, x))
        found = modules.received(case, ours(x))
        return float((expected - found).abs().max() / expected.abs().max())


def stir(weights) -> None:
    """Change the weights that would hide differences: those that begin as zeros or ones."""
    import torch

    for weight in weights:
        if weight.ndim < 2 or not weight.any():
            weight += 0.1 * torch.randn_like(weight)


def answer(side: str, request: dict, known: dict) -> object:
    """Return what a request asks for. `known` keeps the last step, which the next round repeats."""
    if request["ask"] == "versions":
        return versions("timm")
    case = CASES[request["case"]]
    if request["ask"] == "difference":
        return difference(case)
    key = request["case"], request["step"]
    if key not in known:
        known.clear()
        known[key] = forms(side, case, request["step"])
    return [time_step(one, request["seconds"]).median_ms for one in known[key]]


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    known: dict = {}
    for line in sys.stdin:
        try:
            reply = {"value": answer(sys.argv[1], json.loads(line), known)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
