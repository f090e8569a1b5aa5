"""The program that writes reference vectors: right modules pass, wrong ones are refused."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from reference import read

if keras.config.backend() != "torch":
    pytest.skip("the program runs PyTorch", allow_module_level=True)

import torch
from torch import nn

from scripts import golden

ROOT = Path(golden.__file__).parents[2]
REFERENCE = {"repo": "https://example.org/se", "class": "Gate"}


class Gate(nn.Module):
    """Squeeze-and-excitation, with the parameters' names of moskomule/senet.pytorch."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(8, 2, bias=False), nn.ReLU(), nn.Linear(2, 8, bias=False), nn.Sigmoid()
        )
        self.factor = factor

    def forward(self, x):
        return self.factor * x * self.fc(x.mean((2, 3)))[:, :, None, None]


class DeadWeight(Gate):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        return super().forward(x) + 0 * self.bias[:, None, None]


class WrongGradient(Gate):
    def forward(self, x):
        return x.detach() * self.fc(x.mean((2, 3)))[:, :, None, None]


class Random(Gate):
    def forward(self, x):
        return super().forward(x) + torch.rand(())


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.norm(x)


def source(module, layer="SEAttention", **options):
    x = torch.randn(2, 5, 4, 8, generator=torch.Generator().manual_seed(1))
    config = {"reduction": 4} if layer == "SEAttention" else {}
    return golden.Source(module, layer, {"x": x}, REFERENCE, config, **options)


def test_a_vector_is_written_and_our_layer_agrees(tmp_path):
    path = tmp_path / "se_attention__test.npz"
    checked = golden.write(source(Gate()), path)
    assert checked[-1] == "reload: SEAttention gives the same numbers"
    meta, arrays = read(path)
    assert meta["config"] == {"reduction": 4}
    assert {name: value.dtype.name for name, value in arrays.items()} == dict.fromkeys(
        [
            *("output", "cotangent", "input/x", "grad/x"),
            *("weights/fc.0.weight", "weights/fc.2.weight"),
        ],
        "float32",
    )
    x, w1, w2 = (arrays[f"{name}"].astype("float64") for name in ("input/x", *_WEIGHTS))
    gate = 1 / (1 + np.exp(-np.maximum(x.mean((1, 2)) @ w1.T, 0) @ w2.T))
    np.testing.assert_allclose(arrays["output"], x * gate[:, None, None], atol=1e-6)


_WEIGHTS = ("weights/fc.0.weight", "weights/fc.2.weight")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (DeadWeight(), "'bias' does not change the output"),
        (WrongGradient(), "finite differences"),
        (Random(), "computed again"),
        (Gate(factor=1.01), "SEAttention differs in 'output'"),
        (Gate(factor=float("inf")), "not finite"),
        (Gate(factor=1e4), "In float32"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_wrong_numbers_are_refused(module, message, tmp_path):
    path = tmp_path / "se_attention__test.npz"
    with pytest.raises(golden.RefusedError, match=message):
        golden.write(source(module), path)
    assert not path.exists()


def test_weights_without_effect_are_named(tmp_path):
    path = tmp_path / "new__test.npz"
    golden.write(source(DeadWeight(), "NoSuchLayer", without_effect=("bias",)), path)
    assert "weights/bias" in read(path)[1]
    with pytest.raises(golden.RefusedError, match=r"'fc\.0\.weight' changes the output"):
        golden.write(source(Gate(), without_effect=("fc.0.weight",)), path)
    with pytest.raises(golden.RefusedError, match="no weight"):
        golden.write(source(Gate(), without_effect=("fc.1.weight",)), path)


def test_batch_statistics(tmp_path):
    path = tmp_path / "new__test.npz"
    module = Normed()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    checked = golden.write(source(module, "NoSuchLayer"), path)
    assert "attn_core has no NoSuchLayer yet" in checked[-1]
    _, arrays = read(path)
    assert np.abs(arrays["output_training"] - arrays["output"]).max() > 0.1
    centred = arrays["output_training"] - arrays["weights/norm.bias"]
    np.testing.assert_allclose(centred.mean((0, 1, 2)), 0, atol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_command(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom scripts.golden import Source\n"
        "def make():\n"
        "    return Source(torch.nn.Linear(4, 4), 'NoSuchLayer', {'x': torch.ones(1, 3, 4)}, {})\n"
    )
    command = [sys.executable, "-m", "scripts.golden", "mine.py:make", "new__default"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [*command, "--folder", "out"],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "new__default.npz").exists()
    assert "gradient: as finite differences" in result.stdout
