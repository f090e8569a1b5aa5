"""Random files and command lines: success, or one line that says what is wrong.

`ATTN_FUZZ=5000` draws that many examples of each; the tests draw few.
"""

import io
import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from attn_core import SEAttention, catalog, load_torch_weights
from attn_core._cli import compare, convert, demo, maps
from attn_core._cli.app import app
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as to_safetensors
from typer import BadParameter
from typer.testing import CliRunner

EXAMPLES = int(os.environ.get("ATTN_FUZZ", "60"))
bounded = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(autouse=True)
def _environment(monkeypatch, folder):
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())
    monkeypatch.chdir(folder)


def make():
    layer = SEAttention(reduction=2)
    layer.build((None, 4, 4, 8))
    return layer


LAYER = make()
STATE = {
    "fc.0.weight": np.linspace(-1, 1, 32, dtype="float32").reshape(4, 8),
    "fc.2.weight": np.linspace(-2, 2, 32, dtype="float32").reshape(8, 4),
}


def as_npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **STATE)
    return file.getvalue()


def as_checkpoint() -> bytes:
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save({name: torch.tensor(array) for name, array in STATE.items()}, file)
    return file.getvalue()


WHOLE = {".npz": as_npz, ".safetensors": lambda: to_safetensors(STATE), ".pt": as_checkpoint}


def keep(content: bytes, path: Path) -> Path:
    path.write_bytes(content)
    return path


def load(path: Path) -> None:
    """Load weights as `attn convert` does: every weight, or none and an error that names the file.

    What was read whole but does not fit is listed over several lines.
    """
    before = [keras.ops.convert_to_numpy(weight) for weight in LAYER.weights]
    try:
        load_torch_weights(LAYER, convert.read(path))
        return
    except ValueError as error:
        message = str(error)
    assert "does not fit" in message or "\n" not in message
    assert any(words in message for words in (path.name, "does not fit", "Entry"))
    for one, weight in zip(before, LAYER.weights, strict=True):
        np.testing.assert_array_equal(one, keras.ops.convert_to_numpy(weight))


@st.composite
def mutations(draw):
    """Draw changes of a file: what to put in which place, given as fractions of its length."""
    place = st.floats(0, 1, exclude_max=True)
    kinds = st.sampled_from(["change", "insert", "delete", "cut", "repeat"])
    return draw(st.lists(st.tuples(kinds, place, st.binary(min_size=1, max_size=8)), min_size=1,
                         max_size=6))  # fmt: skip


def mutate(content: bytes, changes) -> bytes:
    for kind, fraction, new in changes:
        at = int(fraction * len(content))
        before, after = content[:at], content[at:]
        content = {
            "change": before + new + after[len(new) :],
            "insert": before + new + after,
            "delete": before + after[len(new) :],
            "cut": before,
            "repeat": before + after[:64] + after,
        }[kind]
    return content


@pytest.mark.parametrize("suffix", WHOLE)
@bounded
@given(st.binary(max_size=300))
def test_weights_of_any_bytes(suffix, folder, content):
    if suffix == ".pt":
        pytest.importorskip("torch")
    load(keep(content, folder / f"any{suffix}"))


@pytest.mark.parametrize("suffix", WHOLE)
@bounded
@given(mutations())
def test_changed_weights(suffix, folder, changes):
    load(keep(mutate(WHOLE[suffix](), changes), folder / f"changed{suffix}"))


@bounded
@given(mutations(), st.sampled_from(["fc.0.weight.npy", "fc.2.weight.npy"]))
def test_changed_members(folder, changes, name):
    """The archive is whole, a member in it is not."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(as_npz())) as whole, zipfile.ZipFile(file, "w") as archive:
        for one in whole.namelist():
            content = whole.read(one)
            archive.writestr(one, mutate(content, changes) if one == name else content)
    load(keep(file.getvalue(), folder / "member.npz"))


numbers = st.integers(-(2**70), 2**70)
lengths = st.lists(st.integers(-1, 9) | numbers, max_size=3)
entries = st.fixed_dictionaries(
    {}, optional={"dtype": st.sampled_from(["F32", "BF16", "I64", "BOOL", "F8_E4M3", "X"]),
                  "shape": lengths, "data_offsets": lengths | st.none()},
)  # fmt: skip


@bounded
@given(st.dictionaries(st.sampled_from([*STATE, "x", "__metadata__"]), entries), st.binary())
def test_safetensors_of_any_header(folder, header, content):
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + content
    load(keep(content, folder / "header.safetensors"))


@pytest.fixture(scope="module")
def model(folder):
    inputs = keras.Input((4, 4, 8))
    keras.Model(inputs, SEAttention(reduction=2)(inputs)).save(folder / "model.keras")
    with zipfile.ZipFile(folder / "model.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@bounded
@given(mutations(), st.sampled_from(["config.json", "model.weights.h5", None]))
def test_changed_models(folder, model, changes, name):
    """A member of a saved model is changed, or the archive itself."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for one, content in model.items():
            archive.writestr(one, mutate(content, changes) if one == name else content)
    content = file.getvalue() if name else mutate(file.getvalue(), changes)
    path = keep(content, folder / "changed.keras")
    message = None
    try:
        maps.load(path)
    except BadParameter as error:
        message = str(error)
    assert message is None or (path.name in message and "\n" not in message)


# Command lines.

COMMANDS = ["list", "show", "maps", "convert", "compare", "demo"]
OPTIONS = ["--family", "--kind", "--backend", "--layer", "--head", "--query", "--scale", "--size",
           "--out", "--config", "--shape", "--prefix", "--attention", "--sizes", "--seeds",
           "--epochs", "--seconds", "--train", "--every-layer", "--eager", "--version", "--help",
           "-h", "--", "--no"]  # fmt: skip
VALUES = ["se", "SEAttention", "gfnet_ti", "se,cbam", "all", ",", "model.keras", "se.npz",
          "changed.keras", "no.npz", "out", "se.weights.h5", "4x4x8", "0x0", "7x7", "1e9", "-1",
          "3", "nan", "0", "[]", '{"reduction": 2}', '{"reduction": NaN}', "unit", "gates",
          "image", "torch", ".", "", "\x00"[:0], "\u202e", "é"]  # fmt: skip
words = st.sampled_from(VALUES) | st.sampled_from(OPTIONS)
words |= st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def run(arguments) -> None:
    """Run a command; it must end well, or with 1 or 2 and a message."""
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2)
    if result.exit_code:
        assert result.stderr.strip()
        assert "Traceback" not in result.output


@bounded
@given(st.sampled_from(COMMANDS) | words, st.lists(words, max_size=7))
def test_command_lines(folder, model, command, rest):
    keep(as_npz(), folder / "se.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "run_demo", lambda *arguments: True)
        patch.setattr(compare, "run_compare", lambda *arguments, **options: True)
        run([command, *rest])


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
names = st.sampled_from(
    [
        "reduction",
        "use_bias",
        "data_format",
        "dtype",
        "name",
        "num_heads",
        "trainable",
        "kernel_size",
    ]
)


@bounded
@given(
    st.sampled_from([name for mechanism in catalog.MECHANISMS for name in mechanism.layers]),
    st.dictionaries(names, values, max_size=3),
    st.sampled_from(["4x4x8", "8x8", "9x8", "1x1x1", "8x8x0"]),
)
def test_configurations(folder, name, config, shape):
    keep(as_npz(), folder / "se.npz")
    run(["convert", "se.npz", "--layer", name, "--config", json.dumps(config), "--shape", shape,
         "--out", "se.weights.h5"])  # fmt: skip
