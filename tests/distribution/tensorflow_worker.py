"""Train on TensorFlow: on one device, on two virtual CPUs, or as one of two processes.

    tensorflow_worker.py one | mirrored | workers

Each prints the losses and the trained weights, with stored statistics ("stored") and with those of
each device's own half of the batch ("batch"). One device does the latter by taking the mean of the
losses of two halves. `fit` does not take a MultiWorkerMirroredStrategy (Keras 3.15, issue 20585):
the two processes run a loop of their own.
"""

import contextlib
import json
import os
import sys

import tensorflow as tf


def strategy_of(mode: str):
    """Return the strategy, before TensorFlow has started anything."""
    if mode == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    if mode == "workers":
        workers = [f"127.0.0.1:{port}" for port in os.environ["PORTS"].split(",")]
        task = {"type": "worker", "index": int(os.environ["RANK"])}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
        return tf.distribute.MultiWorkerMirroredStrategy()
    return None


MODE = sys.argv[1]
STRATEGY = strategy_of(MODE)

from network import BATCH, LOSS, batches, build, fit, optimizer, weights  # noqa: E402

HALVES = [slice(0, BATCH // 2), slice(BATCH // 2, BATCH)]


def loop(model, shares) -> list[float]:
    """Train on the mean of the losses of the shares, and of the processes; return the losses."""
    rule = optimizer()

    def step(parts):
        with tf.GradientTape() as tape:
            # Under a strategy, Keras' losses are divided by the number of devices.
            loss = sum(LOSS(y, model(x, training=True)) for x, y in parts) / len(parts)
        variables = model.trainable_variables
        rule.apply(tape.gradient(loss, variables), variables)
        return loss

    @tf.function
    def step_of_all(parts):
        if STRATEGY is None:
            return step(parts)
        return STRATEGY.reduce("SUM", STRATEGY.run(step, (parts,)), axis=None)

    rule.build(model.trainable_variables)
    return [
        float(step_of_all([(tf.constant(x[one]), tf.constant(y[one])) for one in shares]))
        for x, y in batches()
    ]


def main() -> None:
    """Print the losses and the trained weights."""
    found = {}
    for name, frozen in (("stored", True), ("batch", False)):
        with STRATEGY.scope() if STRATEGY else contextlib.nullcontext():
            model = build(frozen)
            if MODE == "workers":
                losses = loop(model, [HALVES[int(os.environ["RANK"])]])
            elif MODE == "one" and not frozen:
                losses = loop(model, HALVES)
            else:
                losses = fit(model)
        found[name] = losses, weights(model)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
