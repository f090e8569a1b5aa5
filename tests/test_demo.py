"""The command: the demo's table and pictures, its errors, Ctrl-C."""

import keras
import pytest
from attn_core.catalog import MECHANISMS
from attn_core.cli import demo as demo_module
from attn_core.cli.app import app
from typer.testing import CliRunner

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())
    monkeypatch.setenv("COLUMNS", "120")


def run(*arguments):
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


def flat(text):
    return " ".join(text.replace("│", " ").split())


def test_demo(tmp_path):
    out = tmp_path / "pictures"
    result = run("--attention", "se,CBAM", "--seeds", 1, "--epochs", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert "1797 digits" in result.output
    for row in ("no attention", "Squeeze-and-excitation", "CBAM"):
        assert row in result.output
    # 16 and 32 channels, reduction 4, no biases: 2 * (16 * 4 + 32 * 8)
    assert " 640 " in result.output
    for name in ("accuracy.png", "attention_maps.png"):
        assert (out / name).read_bytes().startswith(PNG)


def test_learns(tmp_path):
    result = run("--attention", "eca", "--seeds", 1, "--epochs", 15, "--out", tmp_path)
    accuracies = [float(w.rstrip("%")) for w in result.output.split() if w.endswith("%")]
    assert len(accuracies) == 2
    assert min(accuracies) > 85


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
        (["--backend", "numpy"], "'numpy' is none of jax, tensorflow, torch"),
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
