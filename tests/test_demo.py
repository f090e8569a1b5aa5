"""The command: the demo's table and pictures, its errors, Ctrl-C."""

import keras
import numpy as np
import pytest
from attn_core._cli import demo as demo_module
from attn_core._cli.app import app
from attn_core.catalog import MECHANISMS
from typer.testing import CliRunner

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(demo_module, "SCENES", {"train": 256, "test": 64})


def run(*arguments):
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


def flat(text):
    return " ".join(text.replace("│", " ").split())


def test_demo(tmp_path):
    out = tmp_path / "pictures"
    result = run("--attention", "se,CBAM", "--seeds", 1, "--epochs", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert "256 scenes to train on, 64 to test" in flat(result.output)
    for row in ("no attention", "Squeeze-and-excitation", "CBAM"):
        assert row in result.output
    # 32 and 64 channels, reduction 4, no biases: 2 * (32 * 8 + 64 * 16)
    assert " 2,560 " in result.output
    for name in ("accuracy.png", "attention_maps.png"):
        assert (out / name).read_bytes().startswith(PNG)


@pytest.mark.thorough
def test_learns(tmp_path, monkeypatch):
    """A gate of channels and positions reads nearly every digit; without one, not half of them."""
    monkeypatch.undo()
    result = run("--attention", "cbam", "--seeds", 1, "--out", tmp_path)
    without, cbam = (float(w.rstrip("%")) for w in result.output.split() if w.endswith("%"))
    assert without < 55
    assert cbam > 85


def test_scenes():
    """Three digits of three colours, a square of one of these, and the label of its digit."""
    digits = np.stack([np.full((8, 8), (label + 1) / 10, "float32") for label in range(10)])
    rng = np.random.default_rng(3)
    scenes, answers = demo_module.draw_scenes(digits, np.arange(10), 200, rng)
    squares = scenes[:, 1:6, 1:6]
    assert (squares.sum(axis=-1) == 1).all()
    colours = squares[:, 0, 0].argmax(axis=-1)
    scenes = scenes.copy()
    scenes[:, :8, :8] = 0
    for scene, colour, answer in zip(scenes, colours, answers, strict=True):
        assert (np.count_nonzero(scene, axis=(0, 1)) == 64).all()  # one digit of each colour
        assert (np.count_nonzero(scene, axis=-1) <= 1).all()  # no two at one place
        assert scene[..., colour].max() == pytest.approx((answer + 1) / 10)
    assert set(colours) == {0, 1, 2}
    assert set(answers) == set(range(10))


def test_ctrl_c_keeps_the_finished_rows(tmp_path, monkeypatch):
    build = demo_module.build_model

    def interrupted(mechanism, seed):
        if mechanism is not None and mechanism.key == "cbam":
            raise KeyboardInterrupt
        return build(mechanism, seed)

    monkeypatch.setattr(demo_module, "build_model", interrupted)
    result = run("--attention", "se,cbam", "--seeds", 1, "--epochs", 1, "--out", tmp_path)
    assert result.exit_code == 130
    assert "Interrupted" in result.output
    assert "Squeeze-and-excitation" in result.output
    assert (tmp_path / "accuracy.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attention", "cban"], "there is no mechanism 'cban'. Did you mean cbam"),
        (["--attention", ","], "name at least one mechanism"),
        (["--attention", "residual"], "is a classifier"),
        (["--backend", "numpy"], "'numpy' is not one of jax, tensorflow, torch"),
        (["--seeds", "0"], "Invalid value for '--seeds'"),
        (["--epochs", "x"], "Invalid value for '--epochs'"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    result = run(*arguments, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in flat(result.output)


def test_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("--out", tmp_path / "file" / "folder")
    assert result.exit_code == 2
    assert "the output folder cannot be used" in flat(result.output)


@pytest.mark.parametrize(
    "mechanism", [m for m in MECHANISMS if m.family != "heads"], ids=lambda m: m.key
)
def test_every_mechanism_fits_the_demo(mechanism):
    model = demo_module.build_model(mechanism, seed=0)
    assert model.output_shape == (None, 10)
    assert model.count_params() >= demo_module.build_model(None, seed=0).count_params()
