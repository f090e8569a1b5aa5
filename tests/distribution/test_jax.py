"""JAX: eight virtual devices, two processes, and the layout of every layer and network."""

import keras
import pytest
from attn_core import catalog, models
from distribution.agreement import check
from distribution.launch import launch

pytestmark = pytest.mark.skipif(keras.config.backend() != "jax", reason="JAX alone")

WHOLE = {
    "ChannelSelfAttention",
    "ECAAttention",
    "GlobalFilter",
    "ResidualAttention",
    "ShuffleAttention",
    "SpatialGroupEnhance",
    "TripletAttention",
}
"""Layers without a kernel that two devices could share (the classifier has five classes here)."""


@pytest.fixture(scope="module")
def devices():
    (found,) = launch("jax_worker.py", "devices")
    return found


@pytest.fixture(scope="module")
def outputs():
    (found,) = launch("jax_layouts.py")
    return found


@pytest.mark.parametrize("way", ["data", "model"])
def test_eight_devices(devices, way):
    check(devices["one"], devices[way])


def test_two_processes(devices):
    for found in launch("jax_worker.py", "processes", processes=2):
        for way in ("data", "model"):
            check(devices["one"], found[way])


def test_each_device_holds_its_part(devices):
    """Keras replicates what its map does not name, without a word."""
    sizes = {"batch": 2, "model": 4}
    parts, whole = devices["model"][2], devices["data"][2]
    assert parts.keys() == devices["layouts"].keys()
    for path, axes in devices["layouts"].items():
        shape = [n // sizes.get(axis, 1) for n, axis in zip(whole[path], axes, strict=True)]
        assert parts[path] == shape, path
    assert sum("model" in axes for axes in devices["layouts"].values()) == 39


@pytest.mark.parametrize("name", [*catalog.LAYERS, *models.__all__])
def test_layout_gives_the_same_outputs(outputs, name):
    """Sums in another order: 2.6e-6 of the largest output was seen, in float32."""
    if name not in outputs:
        pytest.skip("not a network, or without a configuration in networks.py")
    found = outputs[name]
    assert found["error"] <= 1e-5 * max(1.0, found["largest"])
    assert (found["split"] == 0) == (name in WHOLE)


def test_a_transformer_block_needs_two_sums(outputs):
    """One after attention, one after the MLP, and nothing else: Megatron's count."""
    assert outputs["transformer block"]["collectives"] == ["all-reduce", "all-reduce"]
