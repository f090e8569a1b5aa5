"""Measure one layer at one shape in a process of its own, so that peak memory is its own.

python -m benchmarks.measure '{"layer": "AFTSimple", "config": {}, "shape": [1, 256, 64]}'
"""

import json
import resource
import statistics
import sys
import time

import keras
import numpy as np
import psutil
from attn_core import layers


def megabytes_now() -> float:
    return psutil.Process().memory_info().rss / 2**20


def megabytes_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(layer: str, config: dict, shape: list, seconds: float = 1.0) -> dict:
    """Return milliseconds (median and smallest) of a compiled forward pass, and its memory."""
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, getattr(layers, layer)(**config)(inputs))
    model.compile()
    before = megabytes_now()
    model.predict_on_batch(x)  # compiles
    times = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 3:
        tick = time.perf_counter()
        model.predict_on_batch(x)  # returns NumPy: the work is done
        times.append(1e3 * (time.perf_counter() - tick))
    return {
        "median_ms": statistics.median(times),
        "least_ms": min(times),
        "runs": len(times),
        "peak_mb": megabytes_peak() - before,
        "weights_mb": 4 * model.count_params() / 2**20,
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
