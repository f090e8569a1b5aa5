"""`attn compare`: table, files, plot, continuing after an interruption, errors."""

import csv
import json
from dataclasses import replace

import keras
import pytest
from attn_core._cli import compare as module
from attn_core._cli import demo
from attn_core._cli.app import app
from attn_core._tools.profiling import Latency, profile
from attn_core.catalog import MECHANISMS
from typer.testing import CliRunner

PNG = b"\x89PNG\r\n\x1a\n"
QUICK = ("--eager", "--seconds", 0, "--sizes", 0)


@pytest.fixture(autouse=True)
def _backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())


@pytest.fixture
def profiled(monkeypatch):
    """Record what is profiled, as (class, shape, training), and leave out the measuring."""
    calls = []

    def record(layer, shape, *, modes, training, seconds):
        calls.append((type(layer).__name__, shape, training))
        if record.error is not None and len(calls) == record.at:
            raise record.error
        result = profile(layer, shape, modes=())
        steps = ("forward", "training") if training else ("forward",)
        latency = {modes[0]: dict.fromkeys(steps, Latency(1.5, 0.25, 1.25, 7))}
        return replace(result, latency=latency)

    record.error, record.at, record.calls = None, 1, calls
    monkeypatch.setattr(module, "profile", record)
    return record


def run(out, *arguments):
    return CliRunner().invoke(app, ["compare", "--out", str(out), *map(str, arguments)])


def flat(text):
    return " ".join(text.replace("│", " ").split())


def rows(out):
    with (out / "rows.csv").open() as file:
        return list(csv.DictReader(file))


def test_table_and_files(tmp_path):
    """Nothing is replaced here: the layers run."""
    out = tmp_path / "out"
    names = ("--attention", "SENet,dot-product,shuffle")
    result = run(out, *names, "--shape", "2x4x4x16", *QUICK)
    assert result.exit_code == 0, result.output
    lines = [line.split(" | ") for line in result.stdout.splitlines() if line.startswith("|")]
    assert [line[0] for line in lines] == [
        "| layer", lines[1][0], "| SEAttention", "| ScaledDotProductAttention",
    ]  # fmt: skip
    assert lines[2][1:5] == ["2x4x4x16", "32", "0", "64"]
    assert lines[3][1:5] == ["2x16x16", "1,088", "0", "49.2 k"]
    reason = "ShuffleAttention: ShuffleAttention 'shuffle_attention': the number of channels"
    assert reason in result.stdout

    se, dot, shuffle = rows(out)
    assert (se["layer"], se["mechanism"], se["trainable_parameters"]) == ("SEAttention", "se", "32")
    assert int(dot["multiply_adds"]) == 2 * (4 * 16 * 16 * 16 + 2 * 16 * 16 * 16)
    assert float(dot["training_median_ms"]) > 0
    assert "128" in shuffle["reason"]
    content = json.loads((out / "compare.json").read_text())
    assert content["settings"]["shape"] == "2x4x4x16"
    assert [row["layer"] for row in content["rows"]] == [row["layer"] for row in rows(out)]
    page = (out / "compare.md").read_text()
    assert page.startswith(f"# 2x4x4x16, eager on {keras.config.backend()}\n")
    assert result.stdout.strip() in page
    assert not (out / "compare.png").exists()
    assert len(list(out.iterdir())) == 3


def test_plot_of_further_sizes(tmp_path, profiled):
    names = ("--attention", "se,external")
    result = run(tmp_path, *names, "--shape", "2x4x6x8", "--sizes", "2,8")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "compare.png").read_bytes().startswith(PNG)
    measured = [(name, shape[1:-1], training) for name, shape, training in profiled.calls]
    assert sorted(measured) == [
        ("ExternalAttention", (6,), False),
        ("ExternalAttention", (24,), True),
        ("ExternalAttention", (96,), False),
        ("SEAttention", (2, 3), False),
        ("SEAttention", (4, 6), True),
        ("SEAttention", (8, 12), False),
    ]
    assert [row["multiply_adds"] for row in rows(tmp_path)] == [
        str(2 * 2 * 8), str(2 * 2 * 24 * 8 * 64),
    ]  # fmt: skip


def test_usual_sizes():
    assert module.usual_sizes((8, 14, 14, 256)) == (7, 28)
    assert module.usual_sizes((8, 7, 7, 256)) == (14,)
    assert module.usual_sizes((8, 196, 256)) == (49, 784)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(9)], ids=["ctrl-c", "killed"])
def test_continues_after_an_interruption(tmp_path, profiled, stop):
    names = ("--attention", "se,eca,coordinate", "--shape", "2x4x4x16")
    profiled.error, profiled.at = stop, 2
    result = run(tmp_path, *names, *QUICK)
    if isinstance(stop, KeyboardInterrupt):
        assert result.exit_code == 130
        assert "Interrupted" in result.output
        assert [row["layer"] for row in rows(tmp_path)] == ["SEAttention"]
    else:  # nothing can be said or done any more
        assert result.exit_code == 9
        assert [path.name for path in tmp_path.iterdir()] == ["compare.json"]

    profiled.error = None
    profiled.calls.clear()
    result = run(tmp_path, *names, *QUICK)
    assert result.exit_code == 0
    assert "Continuing: 1 of 3" in result.output
    assert [name for name, *_ in profiled.calls] == ["ECAAttention", "CoordinateAttention"]
    assert len(rows(tmp_path)) == 3
    profiled.calls.clear()
    assert run(tmp_path, *names, *QUICK).exit_code == 0
    assert profiled.calls == []


def test_what_fails_is_tried_again(tmp_path, profiled):
    names = ("--attention", "se,eca", "--shape", "2x4x4x16")
    profiled.error = RuntimeError("no memory\nleft")
    result = run(tmp_path, *names, *QUICK)
    assert result.exit_code == 0
    assert "SEAttention: failed: RuntimeError: no memory left" in result.stdout
    assert "| ECAAttention |" in result.stdout
    profiled.error = None
    profiled.calls.clear()
    result = run(tmp_path, *names, *QUICK)
    assert [name for name, *_ in profiled.calls] == ["SEAttention"]
    assert "failed" not in result.stdout


def test_other_settings_and_broken_files_are_refused(tmp_path, profiled):
    assert run(tmp_path, "--attention", "se", "--shape", "2x4x4x16", *QUICK).exit_code == 0
    result = run(tmp_path, "--attention", "se", "--shape", "2x8x8x16", *QUICK)
    assert result.exit_code == 2
    assert "holds a comparison with shape 2x4x4x16, not 2x8x8x16" in flat(result.output)
    (tmp_path / "compare.json").write_text("{")
    result = run(tmp_path, "--attention", "se", "--shape", "2x4x4x16", *QUICK)
    assert result.exit_code == 2
    assert "is no comparison of this command" in flat(result.output)


def test_accuracy(tmp_path, profiled, monkeypatch):
    trained = []

    def train(mechanism, seed, epochs, split, advance):
        trained.append((mechanism and mechanism.key, seed, epochs))
        accuracy = 0.5 + 0.2 * seed if mechanism else 0.4
        return demo.Run(model=None, curve=[0.1, accuracy], step_ms=1.0)

    monkeypatch.setattr(demo, "train", train)
    names = ("--attention", "se,residual,aft", "--every-layer", "--shape", "2x4x4x16")
    result = run(tmp_path, *names, *QUICK, "--train", "--seeds", 2, "--epochs", 5)
    assert result.exit_code == 0, result.output
    assert trained == [(key, seed, 5) for key in (None, "se", "aft") for seed in (0, 1)]
    accuracies = {row["layer"]: row["accuracy"] for row in rows(tmp_path)}
    assert accuracies.pop("no attention") == "0.4"
    assert {name for name, value in accuracies.items() if value} == {"SEAttention", "AFTFull"}
    assert "AFTSimple" in accuracies
    line = next(text for text in result.stdout.splitlines() if "SEAttention" in text)
    assert line.endswith("| 60.00 ± 10.00 |")
    trained.clear()
    result = run(tmp_path, *names, *QUICK, "--train", "--seeds", 3, "--epochs", 5)
    assert trained == [(key, 2, 5) for key in (None, "se", "aft")]


def test_tokens(tmp_path, profiled):
    names = ("--attention", "coordinate,emsa,muse", "--shape", "2x16x32")
    result = run(tmp_path, *names, *QUICK)
    assert result.exit_code == 0
    assert {(name, shape) for name, shape, _ in profiled.calls} == {
        ("EfficientMultiHeadSelfAttention", (2, 16, 32)), ("MUSEAttention", (2, 16, 32)),
    }  # fmt: skip
    assert "- CoordinateAttention: CoordinateAttention" in result.stdout
    assert "rank 4" in result.stdout


@pytest.mark.parametrize("name", [name for m in MECHANISMS for name in m.layers])
def test_every_layer_fits_the_usual_shape(name, profiled):
    with keras.StatelessScope(initialize_variables=False):  # shapes, no values
        found = module.cost(name, (8, 14, 14, 256), "eager", 0, True)
    assert "reason" not in found
    assert "failed" not in found
    assert found["peak_mb"] > 0
    assert profiled.calls == [(name, tuple(map(int, found["input"].split("x"))), True)]


def test_arguments_that_depend_on_the_input():
    assert module.arguments("HaloAttention", (8, 14, 21, 64)) == {"block_size": 7}
    assert module.arguments("HaloAttention", (8, 32, 32, 64)) == {"block_size": 8}
    assert module.arguments("AFTFull", (8, 49, 64)) == {"max_length": 49}
    assert module.arguments("MBConv", (8, 7, 7, 48)) == {"filters": 48}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attention", "cban"], "there is no mechanism 'cban'. Did you mean cbam"),
        (["--shape", "8x14"], "--shape must be"),
        (["--shape", "8x14x14xC"], "--shape must be"),
        (["--shape", "8x0x14x64"], "--shape must be positive"),
        (["--sizes", "7,x"], "--sizes must be"),
        (["--shape", "2x4x6x16", "--sizes", "3"], "cannot become 3 pixels high"),
        (["--backend", "numpy"], "'numpy' is not one of jax, tensorflow, torch"),
        (["--seconds", "-1"], "Invalid value for '--seconds'"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    result = run(tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in flat(result.output)
