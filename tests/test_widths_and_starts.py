"""How weights start, and how wide they are, for every layer of the catalog."""

import math
from inspect import signature

import keras
import numpy as np
import pytest
from attn_core import catalog
from attn_core.catalog._record import GLOROT, IDENTITY
from cases import CASES, FIRST, each

USUAL = {
    "kernel": GLOROT,
    "gamma": 1.0,
    "moving_variance": 1.0,
    "beta": 0.0,
    "bias": 0.0,
    "moving_mean": 0.0,
}


def expected_start(weight, starts):
    """Return what the record says, of the longest ending of the path, or else what is usual."""
    endings = [ending for ending in starts if weight.path.endswith(ending)]
    if endings:
        return starts[max(endings, key=len)]
    return USUAL[weight.path.rsplit("/", 1)[-1]]


@each(CASES)
def test_start_values(case):
    keras.utils.set_random_seed(3)
    layer = case.make(name="layer")
    layer.build(case.shape)
    for weight in layer.weights:
        start = expected_start(weight, case.record.starts)
        values = keras.ops.convert_to_numpy(weight).astype("float64")
        if start == IDENTITY:
            height, width, inputs, filters = values.shape
            assert height * width == inputs
            start = np.repeat(np.eye(inputs), filters).reshape(values.shape)
        if not isinstance(start, str):
            assert (values == start).all(), weight.path
            continue
        if start == GLOROT:
            *field, rows, columns = (1, 1, *values.shape)[-max(2, values.ndim) :]
            deviation = math.sqrt(2 / (math.prod(field) * (rows + columns)))
        else:
            deviation = float(start.removeprefix("normal "))
        # Of few numbers the standard deviation is uncertain; a truncated normal has 0.88 of it.
        measured = math.sqrt(np.mean(np.square(values)))
        slack = 0.15 + 3 / math.sqrt(2 * values.size)
        assert abs(measured / deviation - 1) <= slack, weight.path
        assert abs(values.mean()) <= 4 * deviation / math.sqrt(values.size), weight.path


@pytest.mark.parametrize("name", [name for name, one in catalog.LAYERS.items() if one.starts])
def test_start_values_are_of_weights_that_exist(name):
    paths = []
    for case in (case for case in CASES if case.layer == name):
        layer = case.make()
        layer.build(case.shape)
        paths += [weight.path for weight in layer.weights]
    for ending in catalog.LAYERS[name].starts:
        assert any(path.endswith(ending) for path in paths), ending


REDUCED = [case for case in FIRST if "reduction" in signature(case.cls).parameters]
OTHERWISE = {"SplitAttention": "its width is never below 32"}
PARTS = {"PyramidSqueezeAttention": 4}
"""In how many parts of the channels a layer has widths."""


@pytest.mark.parametrize("case", REDUCED, ids=lambda case: case.id)
def test_a_width_is_at_least_one(case):
    """The width is C // reduction, and 1 where the reduction exceeds the number of channels."""
    if case.layer in OTHERWISE:
        pytest.skip(OTHERWISE[case.layer])
    config = {"min_width": 1} if "min_width" in signature(case.cls).parameters else {}
    channels = case.shape[-1] // PARTS.get(case.layer, 1)
    counts, widths = {}, {}
    for reduction in range(1, 2 * channels + 1):
        layer = case.cls(**case.config | config | {"reduction": reduction})
        layer.build(case.shape)
        counts[reduction] = layer.count_params()
        widths[reduction] = max(1, channels // reduction)
    assert len(set(counts.values())) == len(set(widths.values()))
