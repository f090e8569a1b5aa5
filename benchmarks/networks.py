"""Run one network forward, then one training step, in a process of its own.

python -m benchmarks.networks GFNet
"""

import json
import math
import sys
import time

import keras
import numpy as np
from attn_core import models

from benchmarks.measure import megabytes_peak

PUBLISHED_AT = {"MobileViT": 256, "MobileViTv2": 256}
"""Side of the images, where it is neither an argument of the network nor 224."""

BATCH = 2


def run(name: str) -> dict:
    """Return what the smallest variant of network `name` takes, compilation included and not."""
    network = getattr(models, name)
    variant = network.list_variants()[0]
    model = network.from_variant(variant)
    side = model.input_shape[1] or PUBLISHED_AT.get(name, 224)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((BATCH, side, side, 3)).astype("float32")
    labels = rng.integers(0, 1000, BATCH)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3), loss)
    seconds, finite = {}, True
    for step in ("forward", "training"):
        for attempt in ("first", "again"):
            tick = time.perf_counter()
            if step == "forward":
                value = model.predict_on_batch(images)
            else:
                value = model.train_on_batch(images, labels)
            seconds[f"{step}_{attempt}"] = time.perf_counter() - tick
            finite &= bool(np.isfinite(value).all())
    finite &= all(np.isfinite(weight).all() for weight in model.get_weights())
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return {
        "variant": variant,
        "parameters": parameters,
        "side": side,
        "finite": finite,
        "seconds": seconds,
        "peak_mb": megabytes_peak(),
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
