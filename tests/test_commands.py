"""The commands `attn list`, `show`, `maps` and `convert`: what they print, write and refuse."""

import json
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from attn_core import (
    CBAM,
    ExternalAttention,
    RelativeSelfAttention,
    SEAttention,
    catalog,
    layers,
    models,
)
from attn_core.cli import app as app_module
from attn_core.cli import show as show_module
from attn_core.cli.app import app
from attn_core.cli.images import SCALES, as_array
from attn_core.tools.files import replacing
from PIL import Image
from reference import MODEL_VECTORS, read
from typer.testing import CliRunner

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def flat(text):
    return " ".join(text.replace("│", " ").split())


def fails(words, *arguments, code=2):
    """Run a command that must fail, with these words and no traceback."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert words in flat(result.output)
    assert result.stdout == ""
    assert result.exception is None or isinstance(result.exception, SystemExit)


# attn list


def test_list_in_a_pipe():
    rows = [line.split("\t") for line in run("list").stdout.splitlines()]
    assert [row[0] for row in rows] == [m.key for m in catalog.MECHANISMS]
    assert {len(row) for row in rows} == {6}
    assert rows[6] == ["cbam", "CBAM", "image", "gates", "2018", "CBAM"]


def test_list_of_a_family_and_a_kind():
    keys = [line.split("\t")[0] for line in run("list", "--family", "windows").stdout.splitlines()]
    assert keys == ["outlook", "halo", "cot"]
    rows = run("list", "--family", "tokens", "--kind", "image").stdout.splitlines()
    assert [row.split("\t")[0] for row in rows] == ["emsa", "mobilevit2"]


def test_list_in_a_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = run("list", "--family", "windows")
    assert "\t" not in result.stdout
    assert "Outlook attention (VOLO)" in result.stdout
    assert "family" in result.stdout.splitlines()[0]


def test_list_of_no_such_family():
    fails("'gate' is not one of", "list", "--family", "gate")


# attn show

HEADINGS = ["Args", "Call arguments", "Returns", "Cost", "Where it goes", "Example"]
HEADINGS.append("Differs from the paper")


@pytest.mark.parametrize("mechanism", catalog.MECHANISMS, ids=lambda m: m.key)
def test_show(mechanism, monkeypatch):
    monkeypatch.setattr(show_module, "_cost", lambda layer: "the cost")  # tested below
    for name in (mechanism.key, *mechanism.layers):
        result = run("show", name)
        assert result.exit_code == 0, result.output
        layer = name if name in mechanism.layers else mechanism.layers[0]
        shown = result.stdout
        assert shown.splitlines()[0] == f"{mechanism.name} ({mechanism.key})"
        assert mechanism.summary in shown
        assert mechanism.paper_url in shown
        assert mechanism.reference in shown
        assert f"\n{layer}(" in shown
        assert f"    from attn_core import {layer}\n" in shown
        assert "\x1b" not in shown
        headings = [line for line in shown.splitlines() if line and not line.startswith(" ")]
        assert headings[-7:] == HEADINGS


@pytest.mark.parametrize("name", ["SEAttention", "AFTFull", "MBConv", "HaloAttention"])
def test_cost(name):
    lines = show_module._cost(getattr(layers, name)).splitlines()[-2:]
    parameters = [line.partition(" parameters")[0].split()[-1] for line in lines]
    multiply_adds = [line.partition(" multiply-adds")[0].split(" parameters")[1] for line in lines]
    assert len(parameters) == len(multiply_adds) == 2
    if name == "SEAttention":  # 2 * 128 * 8, whatever the size
        assert parameters == ["2,048", "2,048"]
        assert multiply_adds[0] == multiply_adds[1]
    else:
        assert multiply_adds[0] != multiply_adds[1]


def test_the_example_shown_is_code(monkeypatch):
    monkeypatch.setattr(show_module, "_cost", lambda layer: "the cost")
    text = run("show", "cbam").stdout
    example = text.partition("\nExample\n")[2].partition("\n\n")[0]
    scope = {}
    exec(textwrap.dedent(example), scope)
    assert tuple(scope["spatial"].shape) == (2, 7, 9, 1)
    assert 'attn_core.insert_attention(model, "CBAM", "residual_branch")' in text


def test_show_nothing():
    fails("there is no mechanism 'cban'. Did you mean cbam", "show", "cban")
    fails("Missing argument", "show")


# attn maps


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder of models and images."""
    folder = tmp_path_factory.mktemp("files")
    last = {"data_format": "channels_last"}
    x = inputs = keras.Input((32, 48, 3))
    x = keras.layers.Conv2D(16, 3, strides=4, padding="same", **last)(x)
    x = CBAM(reduction=4, name="gates", **last)(x)
    x = RelativeSelfAttention(num_heads=2, key_dim=4, name="attention", **last)(x)
    keras.Model(inputs, x, name="network").save(folder / "model.keras")

    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, SEAttention(1, name="gate", **last)(inputs)).save(folder / "grey.keras")

    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dense(2)]).save(folder / "plain.keras")
    inputs = keras.Input((9, 8))
    keras.Model(inputs, ExternalAttention(4)(inputs)).save(folder / "tokens.keras")

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), "uint8")).save(folder / "image.png")
    (folder / "text.png").write_text("no image")
    (folder / "cut.png").write_bytes((folder / "image.png").read_bytes()[:300])
    (folder / "broken.keras").write_text("no model")
    return folder


def test_maps(files, tmp_path):
    result = run("maps", files / "model.keras", files / "image.png", "--out", tmp_path / "a" / "b")
    assert result.exit_code == 0, result.output
    names = ["01-gates.png", "02-attention.png"]
    assert result.stdout.split() == [str(tmp_path / "a" / "b" / name) for name in names]
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / "b" / name).read_bytes().startswith(PNG)


@pytest.mark.parametrize("sample", ["china", "flower"])
def test_maps_of_a_photograph(sample, files, tmp_path):
    options = ["--layer", "attention", "--head", 1, "--query", "5,20", "--scale", "imagenet"]
    result = run("maps", files / "model.keras", sample, *options, "--out", tmp_path)
    assert result.stdout.split() == [str(tmp_path / "01-attention.png")], result.output


@pytest.mark.parametrize(("options", "shape"), [([], (224, 224, 1)), (["12x16"], (12, 16, 1))])
def test_maps_of_a_model_for_grey_images_of_any_size(options, shape, files, tmp_path, monkeypatch):
    from attn_core.cli import maps

    def prepare(model, pixels, *others):
        assert (pixels.shape, pixels.dtype) == (shape, np.float32)
        assert pixels.min() >= 0
        assert 0.5 < pixels.max() <= 1
        return original(model, pixels, *others)

    original = maps.prepare
    monkeypatch.setattr(maps, "prepare", prepare)
    arguments = ["maps", files / "grey.keras", files / "image.png", "--out", tmp_path]
    result = run(*arguments, *(["--size", *options] if options else []))
    assert result.exit_code == 0, result.output


def test_scales():
    image = Image.fromarray(np.array([[[0, 102, 255]]], "uint8"))
    expected = {
        "raw": [0, 102, 255],
        "unit": [0, 0.4, 1],
        "symmetric": [-1, -0.2, 1],
        "imagenet": [-0.485 / 0.229, -0.056 / 0.224, 0.594 / 0.225],
    }
    assert set(expected) == set(SCALES) == set(app_module.Scale)
    for scale, values in expected.items():
        pixels = as_array(image, 2, 3, 3, scale)
        np.testing.assert_allclose(pixels, np.broadcast_to(values, (2, 3, 3)), atol=1e-6)


@pytest.mark.parametrize(
    ("model", "image", "options", "words"),
    [
        ("missing.keras", "image.png", (), "does not exist"),
        ("text.png", "image.png", (), "the model must be a .keras file, not 'text.png'"),
        ("broken.keras", "image.png", (), "broken.keras cannot be loaded"),
        ("plain.keras", "image.png", (), "no layer with an attention map"),
        ("tokens.keras", "image.png", (), "must take one image (H, W, C). It takes (None, 9, 8)"),
        ("grey.keras", "image.png", ("--scale", "imagenet"), "1 channels, not RGB images"),
        ("model.keras", "nothing.png", (), "china or flower would be a sample"),
        ("model.keras", "text.png", (), "is not an image that can be read"),
        ("model.keras", "cut.png", (), "cut.png"),
        ("model.keras", ".", (), "cannot be read"),
        ("model.keras", "image.png", ("--layer", "atention"), "Did you mean 'attention'?"),
        ("model.keras", "image.png", ("--head", "7"), "one of the 2 heads"),
        ("model.keras", "image.png", ("--query", "5"), None),
        ("model.keras", "image.png", ("--query", "40,5"), "(row, column) of a pixel"),
        ("model.keras", "image.png", ("--query", "5;5"), "--query must be N or N,N"),
        ("model.keras", "image.png", ("--size", "5"), "--size must be NxN"),
        ("model.keras", "image.png", ("--size", "0x5"), "--size must be positive"),
        ("model.keras", "image.png", ("--scale", "half"), "'half' is not one of"),
        ("model.keras", "image.png", ("--backend", "numpy"), "'numpy' is none of jax"),
    ],
)
def test_maps_of_wrong_input(model, image, options, words, files, tmp_path):
    image = files / image if image != "." else "."
    arguments = ["maps", files / model, image, *options, "--out", tmp_path / "out"]
    if words is None:
        assert run(*arguments).exit_code == 0
    else:
        fails(words, *arguments)
        assert not list(tmp_path.rglob("*.png"))


def test_maps_into_a_folder_that_cannot_be_made(files, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ["maps", files / "model.keras", files / "image.png"]
    fails("the output folder cannot be used", *arguments, "--out", tmp_path / "file" / "out")


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def interrupted():
        with replacing(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_text() == "before"
    with replacing(path) as unfinished:
        unfinished.write_text("whole")
    assert [one.read_text() for one in tmp_path.iterdir()] == ["whole"]


# attn convert


@pytest.fixture
def checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"se.fc.0.weight": (2, 8), "se.fc.2.weight": (8, 2)}
    arrays = {name: rng.standard_normal(shape).astype("float32") for name, shape in shapes.items()}
    np.savez(tmp_path / "se.npz", **arrays)
    return arrays


CONVERT = ("--shape", "7x7x8", "--config", '{"reduction": 4}', "--prefix", "se.")


def loaded(path):
    layer = SEAttention(reduction=4, data_format="channels_last")
    layer.build((None, 7, 7, 8))
    keras.saving.load_weights(layer, path)
    return [keras.ops.convert_to_numpy(weight) for weight in layer.weights]


def test_convert(checkpoint, tmp_path):
    out = tmp_path / "se.weights.h5"
    for name in ("se", "SEAttention", "seattention"):
        result = run("convert", "se.npz", "--layer", name, *CONVERT, "--out", out)
        assert (result.exit_code, result.stdout) == (0, f"{out}\n"), result.output
    for ours, theirs in zip(loaded(out), checkpoint.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs.T)


@pytest.mark.parametrize("nested", [False, True])
def test_convert_a_file_of_torch(nested, checkpoint, tmp_path):
    torch = pytest.importorskip("torch")
    content = {name: torch.tensor(array) for name, array in checkpoint.items()}
    torch.save({"state_dict": content, "epoch": 3} if nested else content, tmp_path / "se.pth")
    result = run("convert", "se.pth", "--layer", "se", *CONVERT, "--out", "se.weights.h5")
    assert result.exit_code == 0, result.output
    for ours, theirs in zip(loaded("se.weights.h5"), checkpoint.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs.T)


def test_convert_a_file_of_torch_with_code(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "se.pt")
    arguments = ("convert", "se.pt", "--layer", "se", *CONVERT, "--out", "se.weights.h5")
    fails("holds more than weights, which could run any code", *arguments, code=1)
    torch.save([1, 2], tmp_path / "se.pt")
    fails("holds no state_dict", *arguments, code=1)


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_convert_a_file_of_torch_without_torch(tmp_path):
    (tmp_path / "se.pt").write_bytes(b"")
    arguments = ("convert", "se.pt", "--layer", "se", *CONVERT, "--out", "se.weights.h5")
    fails("which only PyTorch reads: pip install torch", *arguments, code=1)


def test_convert_a_network(tmp_path):
    path = next(path for path in MODEL_VECTORS if path.stem == "model_gfnet__tiny")
    meta, _ = read(path)
    arguments = ("--config", json.dumps(meta["config"]), "--prefix", "weights/")
    result = run("convert", path, "--layer", "GFNet", *arguments, "--out", "gfnet.weights.h5")
    assert "unexpected: input" not in result.output
    assert result.exit_code == 0, result.output
    model = models.GFNet(**meta["config"])
    before = keras.ops.convert_to_numpy(model.weights[0])
    model.load_weights("gfnet.weights.h5")
    assert not np.array_equal(before, keras.ops.convert_to_numpy(model.weights[0]))


def test_convert_lists_all_that_does_not_fit(checkpoint, tmp_path):
    arguments = ("convert", "se.npz", "--layer", "se", "--shape", "7x7x8", "--out", "x.weights.h5")
    result = run(*arguments)
    assert result.exit_code == 1
    assert "missing: fc.0.weight, of shape (1, 8)" in flat(result.stderr)
    assert "unexpected: se.fc.2.weight, of shape (8, 2)" in flat(result.stderr)
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["se.npz"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "SEAtention"}, "no layer or network 'SEAtention'. Did you mean SEAttention"),
        ({"layer": "gfnet_t"}, "Did you mean gfnet_ti"),
        ({"shape": None}, "SEAttention needs --shape"),
        ({"shape": "7,7,8"}, "--shape must be NxN or NxNxN"),
        ({"shape": "7x8"}, "the input must have rank 4"),
        ({"config": "{"}, "--config is not JSON"),
        ({"config": "[1]"}, "--config must be a JSON object"),
        ({"config": '{"reductoin": 4}'}, "reductoin"),
        ({"config": '{"reduction": 0}'}, "`reduction` must be an integer >= 1"),
        ({"out": "se.h5"}, "--out must be a .weights.h5 file, not 'se.h5'"),
        ({"out": "no/se.weights.h5"}, "there is no folder no"),
        ({"source": "missing.npz"}, "does not exist"),
        ({"source": "se.bin"}, "the checkpoint must be a .safetensors or .npz or .pt or .pth file"),
    ],
)
def test_convert_of_wrong_input(options, words, checkpoint, tmp_path):
    (tmp_path / "se.bin").write_text("")
    given = {"source": "se.npz", "layer": "se", "shape": "7x7x8", "out": "se.weights.h5", **options}
    source = given.pop("source")
    named = [part for name, value in given.items() if value for part in (f"--{name}", value)]
    fails(words, "convert", source, *named)
    assert not list(tmp_path.rglob("*.h5"))


# The command as a process.


def process(*arguments, **options):
    command = [sys.executable, "-m", "attn_core", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_listing_loads_no_backend():
    code = (
        "import sys; sys.argv = ['attn', 'list', '--kind', 'token']\n"
        "from attn_core.__main__ import main\n"
        "try:\n    main()\n"
        "except SystemExit as error:\n    assert not error.code\n"
        "loaded = {'keras', 'jax', 'tensorflow', 'torch', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 8
    assert result.stderr == ""


def test_commands_as_processes(files, tmp_path):
    shown = process("show", "eca", "--backend", keras.config.backend(), cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "ECAAttention(kernel_size=None, *, gamma=2, b=1" in shown.stdout
    assert f"Backend: {keras.config.backend()} (as asked)" in shown.stderr
    drawn = process("maps", files / "model.keras", files / "image.png", cwd=tmp_path)
    assert drawn.stdout.splitlines() == [
        os.path.join("attn-maps", name) for name in ("01-gates.png", "02-attention.png")
    ], drawn.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("attn show tri", {"triplet"}),
        ("attn show Tripl", {"TripletAttention"}),
        ("attn demo --attention se,tri", {"se,triplet"}),
        ("attn list --family win", {"windows"}),
        ("attn maps model.keras fl", {"flower"}),
        ("attn show eca --backend to", {"torch"}),
        ("attn conv", {"convert"}),
    ],
)
def test_completion(line, expected):
    environment = {
        **os.environ,
        "_ATTN_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    code = (
        "import sys; sys.argv = ['attn']; from attn_core.cli.app import app; app(prog_name='attn')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert set(result.stdout.split()) == expected, result.stderr
