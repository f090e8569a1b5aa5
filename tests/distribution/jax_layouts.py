"""Compare the output of every layer and network, laid out over eight devices, with one device's.

    jax_layouts.py

Prints for each the largest error, the largest output and the number of weights that are split; then
the collectives that the compiler puts into one transformer block.
"""

import json
import os
import re
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 "
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # compiles sooner
)
sys.path.append(str(Path(__file__).parents[1]))

import jax
import keras
import numpy as np
from attn_core import models
from attn_core.distribution import layout_map
from attn_core.models._coatnet import CoAtNetTransformerBlock
from cases import CASES
from keras.distribution import DeviceMesh, ModelParallel
from networks import TINY


def run(layer, x):
    """Call a layer, compiled as one program; return its output and the program's collectives."""
    state = [
        [variable.value for variable in variables]  # arguments, lest they be folded as constants
        for variables in (layer.trainable_variables, layer.non_trainable_variables)
    ]
    call = jax.jit(lambda trainable, other, x: layer.stateless_call(trainable, other, x)[0])
    program = call.lower(*state, x).compile()
    collectives = re.findall(r" (all-\w+|collective-permute|reduce-scatter)\(", program.as_text())
    return np.asarray(program(*state, x)), collectives


def compare(make, x, devices=(4, 2)) -> dict:
    """Call a layer with and without the proposed layout, with the same weights."""
    plain = make()
    if not plain.built:
        plain.build((None, *x.shape[1:]))
    mesh = DeviceMesh(devices, ("batch", "model"))
    distribution = ModelParallel(layout_map=layout_map(plain, mesh, min_size=1))
    with distribution.scope():
        split = make()
        if not split.built:
            split.build((None, *x.shape[1:]))
    rng = np.random.default_rng(0)
    for ours, theirs in zip(split.weights, plain.weights, strict=True):
        assert ours.path == theirs.path
        # Some scales start at 0 and would hide what they scale.
        value = np.asarray(theirs.value) + 0.1 * np.abs(rng.standard_normal(theirs.shape))
        theirs.assign(value)
        ours.assign(value)
    expected, _ = run(plain, x)
    layout = distribution.get_data_layout(x.shape)
    output, collectives = run(split, keras.distribution.distribute_tensor(x, layout))
    return {
        "error": float(np.abs(output - expected).max()),
        "largest": float(np.abs(expected).max()),
        "split": sum(not weight.value.is_fully_replicated for weight in split.weights),
        "collectives": sorted(collectives),
    }


def main() -> None:
    """Print what was found."""
    found = {}
    for case in CASES:
        if case.layer not in found:
            found[case.layer] = compare(
                lambda case=case: case.make(name="layer"), np.concatenate([case.draw()] * 2)
            )
    images = np.random.default_rng(1).standard_normal((4, 64, 64, 3)).astype("float32")
    for name, config in TINY.items():
        network = getattr(models, name)
        found[name] = compare(lambda: network(**config, num_classes=10), images)  # noqa: B023
    block = lambda: CoAtNetTransformerBlock(64, key_dim=8, name="block")  # noqa: E731
    found["transformer block"] = compare(block, np.ones((8, 7, 7, 64), "float32"), (1, 8))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
