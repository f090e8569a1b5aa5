"""Export to ONNX with a batch of any size, run by ONNX Runtime.

On PyTorch; `nox -s exports` measures all backends. Layers are those whose operations differ there.
"""

import keras
import numpy as np
import pytest
from attn_core import models
from cases import FIRST
from networks import TINY

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.skipif(keras.config.backend() != "torch", reason="PyTorch's exporter")

OPERATIONS = {
    "AFTConv": "a split at a place",
    "CrossFormerAttention": "sides rounded up",
    "EfficientMultiHeadSelfAttention": "a split, a norm",
    "EfficientMultiScaleAttention": "values repeated",
    "FocusedLinearAttention": "a kernel repeated",
    "GlobalContextAttention": "a norm",
    "HaloAttention": "a split",
    "LambdaAttention": "a table by index",
    "MobileViTBlock": "a resized image",
    "NeighborhoodAttention": "positions by index",
    "WindowAttention": "a table by index",
}
"""Layers, and what of them needed another operation."""


def compare(model, x, path) -> None:
    """Compare a model and its ONNX file, for batches of two sizes."""
    model(x)  # Keras exports what was called
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert isinstance(given.shape[0], str)
    for images in (x, np.concatenate([x, x, -x])):
        (output,) = session.run(None, {given.name: images})
        expected = keras.ops.convert_to_numpy(model(images))
        np.testing.assert_allclose(output, expected, atol=3e-5)


@pytest.mark.parametrize("name", TINY)
def test_networks(name, tmp_path):
    network = getattr(models, name)(**TINY[name], num_classes=5)
    side = network.input_shape[1] or 64
    images = keras.Input((side, side, 3))
    x = np.random.default_rng(0).standard_normal((2, side, side, 3)).astype("float32")
    compare(keras.Model(images, network(images)), x, str(tmp_path / "network.onnx"))


@pytest.mark.parametrize(
    "case", [case for case in FIRST if case.layer in OPERATIONS], ids=lambda case: case.layer
)
def test_layers(case, tmp_path):
    inputs = keras.Input(case.shape[1:])
    options = {"data_format": "channels_last"} if case.is_image else {}
    model = keras.Model(inputs, case.make(**options)(inputs))
    compare(model, case.draw(), str(tmp_path / "layer.onnx"))
