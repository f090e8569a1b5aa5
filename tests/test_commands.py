"""The commands `attn list`, `show`, `maps` and `convert`: what they print, write and refuse."""

import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from argparse import Namespace
from importlib.util import find_spec

import attn_core
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
    profile,
)
from attn_core._cli import app as app_module
from attn_core._cli import formulas, sources
from attn_core._cli.app import app
from attn_core._cli.images import SCALES, as_array
from attn_core._tools.files import replacing
from attn_core.catalog._docstrings import sections
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
    assert rows[6] == ["cbam", "CBAM", "image, signal, volume", "gates", "2018", "CBAM"]


def test_list_of_a_family_and_a_kind():
    keys = [line.split("\t")[0] for line in run("list", "--family", "windows").stdout.splitlines()]
    assert keys == [one.key for one in catalog.MECHANISMS if one.family == "windows"]
    assert keys[:3] == ["outlook", "halo", "cot"]
    rows = run("list", "--family", "tokens", "--kind", "image").stdout.splitlines()
    assert [row.split("\t")[0] for row in rows] == ["mobilevit2"]


def test_list_of_kinds_follows_the_layers():
    """The command reads docstrings; the layers declare it."""
    axes = {m.key: getattr(attn_core.layers, m.principal).spatial_axes for m in catalog.MECHANISMS}
    for kind, number in (("signal", 1), ("volume", 3)):
        lines = run("list", "--kind", kind).stdout.splitlines()
        keys = [line.split("\t")[0] for line in lines]
        tokens = [m.key for m in catalog.MECHANISMS if kind == "signal" and "token" in m.input]
        assert keys == [key for key, known in axes.items() if number in known or key in tokens]


def found(words):
    return [line.split("\t")[0] for line in run("list", "--search", words).stdout.splitlines()]


def test_list_of_what_a_search_finds():
    """Words of title, authors, names, layers and repository, in any order and case."""
    for words in ("criss segmentation", "wang huang", "CCNET", "crisscrossatt", "speedinghzl"):
        assert found(words) == ["criss-cross"], words
    assert found("") == [m.key for m in catalog.MECHANISMS]
    result = CliRunner().invoke(app, ["list", "--search", "criss quaternion"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "criss quaternion" in result.stderr


def test_list_in_a_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = run("list", "--family", "windows")
    assert "\t" not in result.stdout
    assert "Outlook attention (VOLO)" in result.stdout
    assert "family" in result.stdout.splitlines()[0]


def test_list_breaks_no_class_name(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    shown = run("list").stdout
    assert all(re.search(rf"\b{name}\b", shown) for name in catalog.LAYERS)
    assert "…" not in shown


def test_list_of_no_such_family():
    fails("'gate' is not one of", "list", "--family", "gate")


# attn show

HEADINGS = ["Args", "Call arguments", "Returns", "Cost", "Where it goes", "Example"]
HEADINGS.append("Differs from the paper")


@pytest.mark.parametrize("mechanism", catalog.MECHANISMS, ids=lambda m: m.key)
def test_show(mechanism):
    for name in (mechanism.key, *mechanism.layers):
        result = run("show", name)
        assert result.exit_code == 0, result.output
        layer = name if name in mechanism.layers else mechanism.principal
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


def test_cost():
    lines = [" ".join(line.split()) for line in run("show", "halo").stdout.splitlines()]
    assert "HaloAttention(block_size=7) on one sample, 14 x 14 x 256:" in lines
    assert "trainable parameters 198,208 = 3 C² + 2 (2 w - 1) d" in lines
    assert "multiply-adds 56,799,232 = 3 N C² + 2 N C w² + 2 N C w" in lines
    counted = profile(layers.HaloAttention(block_size=7), (1, 14, 14, 256), modes=())
    assert (counted.trainable_parameters, counted.total_multiply_adds) == (198_208, 56_799_232)


def test_the_example_shown_is_code():
    text = run("show", "cbam").stdout
    example = text.partition("\nExample\n")[2].partition("\n\n")[0]
    scope = {}
    exec(textwrap.dedent(example), scope)
    assert tuple(scope["spatial"].shape) == (2, 7, 9, 1)
    assert 'attn_core.insert_attention(model, "CBAM", "residual_branch")' in text


@pytest.mark.parametrize("name", catalog.LAYERS)
def test_what_is_read_from_a_source(name):
    cls, source = getattr(layers, name), sources.read(name)
    if "__init__" in vars(cls):
        parameters = inspect.signature(cls).parameters.values()
        bare = [one.replace(annotation=one.empty) for one in parameters]
        assert source.signature == str(inspect.Signature(bare))
    assert source.sections == sections(cls)


@pytest.mark.parametrize("name", catalog.LAYERS)
def test_formulas_leave_no_tex(name):
    text = "\n".join(formulas.readable(text) for text in sources.read(name).sections.values())
    assert not re.findall(r"\\|[\ue000\ue001]|\$|[_^]{|\b[td]?frac\b", text)


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"y = \frac{q_p \cdot k_n}{\sqrt d}", "y = (qₚ · kₙ) / √d"),
        (r"\mathrm{softmax}_n\Big(x^\top W_{q}\Big)", "softmaxₙ(xᵀ W_q)"),
        (r"|x|_\mathrm{odd} \ge \tfrac13", "|x|_(odd) ≥ 1/3"),
        (r"\bar k_m,\quad \mathrm{window\_size}", "k\u0304ₘ, window_size"),
        (r"\frac{\sum_s \exp(k_{sc})}{\frac{a}{b} + 10^{-6}}", "(Σₛ exp(k_(sc))) / (a / b + 10⁻⁶)"),
    ],
)
def test_formula_as_text(tex, text):
    assert formulas.plain(tex) == text


def test_show_nothing():
    fails("there is no mechanism 'cban'. Did you mean cbam", "show", "cban")
    fails("`attn list` shows all", "show", "cban")
    fails("there is no mechanism '--'. `attn list` shows all", "show", "--", "--")
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
    from attn_core._cli import maps

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
        ("model.keras", "image.png", ("--backend", "numpy"), "'numpy' is not one of jax"),
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


@pytest.mark.parametrize("name", ["se.pth.tar", "pytorch_model.bin", "epoch=3.ckpt"])
def test_convert_what_trainers_write(name, checkpoint, tmp_path):
    """Files of other endings, weights within several names, and all names within a wrapper."""
    torch = pytest.importorskip("torch")
    content = {f"module.{key}": torch.tensor(array) for key, array in checkpoint.items()}
    run_of = {"epoch": 3, "model": "se", "args": Namespace(lr=0.1)}
    torch.save({"state_dict_ema": {"model": content}, **run_of}, tmp_path / name)
    result = run("convert", name, "--layer", "se", *CONVERT, "--out", "se.weights.h5")
    assert result.exit_code == 0, result.output
    for ours, theirs in zip(loaded("se.weights.h5"), checkpoint.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs.T)


def test_convert_to_other_classes(tmp_path):
    path = next(path for path in MODEL_VECTORS if path.stem == "model_gfnet__tiny")
    config = {**read(path)[0]["config"], "num_classes": 4}
    arguments = ("--config", json.dumps(config), "--prefix", "weights/", "--out", "a.weights.h5")
    arguments = ("convert", path, "--layer", "GFNet", *arguments)
    fails("All fits but the classifier", *arguments, code=1)
    result = run(*arguments, "--skip-mismatch")
    assert result.exit_code == 0, result.output
    assert "misshapen: head.weight" in flat(result.stderr)


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


TIMM = next(path for path in MODEL_VECTORS if path.stem == "model_mobile_vit_v2__timm")


def timm(*arguments, source=TIMM, **options):
    """Convert the reference vector with the names of timm."""
    config = json.dumps({**read(TIMM)[0]["config"], **options})
    options = ("--model", "MobileViTv2", "--config", config, "--prefix", "weights/")
    return run("convert", source, *options, *arguments)


def test_convert_a_checkpoint_of_timm():
    """Without --out, the file has the name of the model."""
    result = timm()
    assert (result.exit_code, result.stdout) == (0, "MobileViTv2.weights.h5\n"), result.output
    assert "The names are those of timm." in flat(result.stderr)
    assert "What the checkpoint expects of images is not known" in flat(result.stderr)
    meta, arrays = read(TIMM)
    model = models.MobileViTv2(**meta["config"])
    model.load_weights("MobileViTv2.weights.h5")
    output = keras.ops.convert_to_numpy(model(arrays["input/x"]))
    np.testing.assert_allclose(output, arrays["output"], atol=meta["atol"])


def test_convert_tells_what_a_variant_expects(tmp_path, monkeypatch):
    variants = {"mobilevitv2_050": read(TIMM)[0]["config"]}
    monkeypatch.setattr(models.MobileViTv2, "VARIANTS", variants)
    options = ("--prefix", "weights/", "--out", "small.keras")
    result = run("convert", TIMM, "--model", "mobilevitv2_050", *options)
    assert result.exit_code == 0, result.output
    assert "shorter side is resized to 288 pixels (bicubic)" in flat(result.stderr)
    assert "according to its publishers" in flat(result.stderr)
    expected = models.MobileViTv2.PREPROCESS["mobilevitv2_050"]
    assert keras.saving.load_model("small.keras").preprocess == expected


def test_convert_reads_timms_description(tmp_path):
    (tmp_path / "timm.npz").write_bytes(TIMM.read_bytes())
    described = {
        "input_size": [3, 96, 96],
        "crop_pct": 0.5,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": described}))
    result = timm("--out", "small.keras", source="timm.npz")
    assert "(according to config.json)" in flat(result.stderr)
    expected = models.Preprocess.from_timm(described)
    assert keras.saving.load_model("small.keras").preprocess == expected
    assert "Only a .keras file keeps this" in flat(timm(source="timm.npz").stderr)
    result = timm("--adapt-channels", "--out", "grey.keras", source="timm.npz", in_channels=1)
    assert "is not known" in flat(result.stderr)
    assert keras.saving.load_model("grey.keras").preprocess is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mobilevitv2"}))
    assert "is not known" in flat(timm(source="timm.npz").stderr)
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0.5]}}))
    result = timm("--out", "other.keras", source="timm.npz")
    assert (result.exit_code, "other.keras" in os.listdir()) == (1, False)
    assert "timm's description of a checkpoint must have input_size" in flat(result.stderr)


@pytest.mark.parametrize("out", ["small.weights.h5", "small.keras"])
def test_convert_checks_its_file(out, tmp_path, monkeypatch):
    """A file that gives other outputs is not left behind."""
    name = "load_weights" if out.endswith(".h5") else "load_model"
    right = getattr(keras.saving, name)

    def wrong(*arguments):
        model = right(*arguments) or arguments[0]
        model.get_layer("head").bias.assign_add(np.full(10, 0.1))
        return model

    monkeypatch.setattr(keras.saving, name, wrong)
    result = timm("--out", out)
    assert result.exit_code == 1
    assert f"{out}: read again, the file gave other outputs" in flat(result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_convert_a_layer_to_keras(checkpoint):
    arguments = ("convert", "se.npz", "--layer", "se", *CONVERT, "--out", "se.keras")
    fails("a layer alone is saved as .weights.h5, a network also as .keras", *arguments, code=1)


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
        ({"shape": "7,7,8"}, "--shape must be NxN or NxNxN or NxNxNxN"),
        ({"shape": "7x8", "layer": "CoordinateAttention"}, "the input must have rank 4"),
        ({"config": "{"}, "--config is not JSON"),
        ({"config": "[1]"}, "--config must be a JSON object"),
        ({"config": '{"reductoin": 4}'}, "reductoin"),
        ({"config": '{"reduction": 0}'}, "`reduction` must be an integer >= 1"),
        ({"out": "se.h5"}, "--out must be a .weights.h5 or .keras file, not 'se.h5'"),
        ({"out": "no/se.weights.h5"}, "there is no folder no"),
        ({"source": "missing.npz"}, "does not exist"),
        ({"source": "se.h5"}, "the checkpoint must be a .safetensors or .npz or .pt or .pth or"),
    ],
)
def test_convert_of_wrong_input(options, words, checkpoint, tmp_path):
    (tmp_path / "se.h5").write_text("")
    given = {"source": "se.npz", "layer": "se", "shape": "7x7x8", "out": "se.weights.h5", **options}
    source = given.pop("source")
    named = [part for name, value in given.items() if value for part in (f"--{name}", value)]
    fails(words, "convert", source, *named)
    assert not list(tmp_path.rglob("*.weights.h5"))


# The command as a process.


def process(*arguments, **options):
    command = [sys.executable, "-m", "attn_core", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize(
    "arguments", [["list", "--kind", "token"], ["show", "cbam"], ["--help"]], ids=" ".join
)
def test_list_show_and_help_load_no_backend(arguments):
    code = (
        f"import sys; sys.argv = ['attn', *{arguments!r}]\n"
        "from attn_command import main\n"
        "try:\n    main()\n"
        "except SystemExit as error:\n    assert not error.code\n"
        "loaded = {'keras', 'jax', 'tensorflow', 'torch', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) >= 8


def test_commands_as_processes(files, tmp_path):
    shown = process("show", "eca", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "ECAAttention(kernel_size=None, *, gamma=2, b=1" in shown.stdout
    assert shown.stderr == ""
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
        ("attn demo --backend to", {"torch"}),
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
        "import sys; sys.argv = ['attn']; import attn_command; "  # loads no backend
        "from attn_core._cli.app import app; app(prog_name='attn')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert set(result.stdout.split()) == expected, result.stderr
