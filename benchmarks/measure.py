"""Measure one layer at one shape in a process of its own, so that peak memory is its own.

python -m benchmarks.measure '{"layer": "AFTSimple", "config": {}, "shape": [1, 256, 64]}'
"""

import json
import resource
import sys

import psutil
from attn_core import layers, profile


def megabytes_now() -> float:
    return psutil.Process().memory_info().rss / 2**20


def megabytes_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(layer: str, config: dict, shape: list, seconds: float = 1.0) -> dict:
    """Return milliseconds (median and smallest) of a compiled forward pass, and its memory."""
    subject = getattr(layers, layer)(**config)
    subject.build(tuple(shape))
    before = megabytes_now()
    result = profile(subject, shape, modes=("compiled",), training=False, seconds=seconds)
    forward = result.latency["compiled"]["forward"]
    return {
        "median_ms": forward.median_ms,
        "least_ms": forward.least_ms,
        "runs": forward.runs,
        "peak_mb": megabytes_peak() - before,
        "weights_mb": 4 * subject.count_params() / 2**20,
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
