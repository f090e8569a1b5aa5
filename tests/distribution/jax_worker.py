"""Train on JAX: on one device, on eight virtual ones, or as one of two processes of two devices.

    jax_worker.py devices | processes

Prints the losses and the trained weights of each way to share the work.
"""

import json
import os
import sys

PROCESSES = sys.argv[1] == "processes"
COUNT = 2 if PROCESSES else 8
os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count={COUNT} "
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # compiles sooner
)

import keras  # noqa: E402
from attn_core.distribution import layout_map  # noqa: E402
from jax.experimental.multihost_utils import process_allgather  # noqa: E402
from keras.distribution import DataParallel, DeviceMesh, ModelParallel  # noqa: E402
from network import BATCH, build, fit  # noqa: E402


def train(distribution=None, share=slice(None)) -> tuple[list, dict, dict]:
    """Train under a distribution; return losses, weights, and what each device holds of them."""
    keras.distribution.set_distribution(distribution)
    model = build()
    losses = fit(model, share)
    values = {weight.path: weight.value for weight in model.weights}
    parts = {path: value.addressable_shards[0].data.shape for path, value in values.items()}
    whole = {path: process_allgather(value, tiled=True) for path, value in values.items()}
    keras.distribution.set_distribution(None)
    return losses, {path: value.ravel().tolist() for path, value in whole.items()}, parts


def main() -> None:
    """Print what was found."""
    share = slice(None)
    if PROCESSES:
        ports, rank = os.environ["PORTS"].split(","), int(os.environ["RANK"])
        keras.distribution.initialize(f"127.0.0.1:{ports[0]}", 2, rank)
        share = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    shape = (2, 2) if PROCESSES else (2, 4)
    layouts = layout_map(build(), DeviceMesh(shape, ("batch", "model")), min_size=1)
    whole = {"auto_shard_dataset": False}  # each process passes its own share
    found = {} if PROCESSES else {"one": train()}
    found["data"] = train(DataParallel(**whole), share)
    found["model"] = train(ModelParallel(layout_map=layouts, **whole), share)
    found["layouts"] = {path: layouts[path].axes for path in layouts}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
