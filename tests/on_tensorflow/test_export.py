"""export: reloaded artefacts compute what the model does; errors name layer and operation."""

import functools

import ai_edge_litert.interpreter
import attn_core
import attn_tf
import keras
import numpy as np
import pytest
from attn_core import models
from attn_tf import exporting, litert
from networks import TINY

pytestmark = pytest.mark.every_backend  # these run on TensorFlow alone


@pytest.fixture(autouse=True)
def _measure_briefly(monkeypatch):
    monkeypatch.setattr(exporting, "SECONDS", 0.0)


def small_cnn():
    x = images = keras.Input((16, 16, 3))
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = attn_core.CBAM(4)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(3)(x), name="small")


def two_inputs():
    """Return a model of two inputs, not in the order of their names, and eleven outputs."""
    wide, narrow = keras.Input((5,), name="wide"), keras.Input((3,), name="narrow")
    outputs = [keras.layers.Dense(2)(one) for one in [wide, *[narrow] * 10]]
    return keras.Model([wide, narrow], outputs)


NETWORKS = {
    "CBAM": small_cnn,
    "GFNet": lambda: models.GFNet(**TINY["GFNet"], num_classes=3),
    "MobileViT": lambda: models.MobileViT(**TINY["MobileViT"], num_classes=3),
    "MobileViTv2": lambda: models.MobileViTv2(**TINY["MobileViTv2"], num_classes=3),
    # 16 x 16 in its first stage, where the FFT is the default
    "FFT pyramid": lambda: attn_tf.GFNetPyramid(**TINY["GFNetPyramid"], num_classes=3),
}


@functools.cache
def network(name):
    """Return a network, built once: export changes nothing about it."""
    return NETWORKS[name]()


def sample_for(model):
    shape = [side or 32 for side in model.input_shape[1:]]
    return np.random.default_rng(0).standard_normal((2, *shape))


@pytest.mark.parametrize("format", ["saved_model", "litert"])
@pytest.mark.parametrize("name", NETWORKS)
def test_reloaded_artefact_computes_the_same(name, format, tmp_path, capsys):
    model = network(name)
    path = tmp_path / ("model" if format == "saved_model" else "model.tflite")
    report = attn_tf.export(model, path, format, sample=sample_for(model))
    assert report.max_difference <= 1e-5 * max(1.0, report.largest_output)
    assert report.largest_output > 0
    assert report.size_bytes > model.count_params()
    assert report.latency_ms > 0
    assert report.note == ""
    assert str(report) in capsys.readouterr().out
    free = [one for one in model._flatten_layers() if isinstance(one, attn_tf.GlobalFilter)]
    assert all(one.method is None for one in free)


def test_a_difference_is_seen(tmp_path, monkeypatch):
    """The report compares with the model, not with itself."""
    model = small_cnn()
    export = keras.Model.export

    def spoil(self, *arguments, **options):
        export(self, *arguments, **options)
        self.layers[-1].bias.assign_add([0.0, 0.5, 0.0])

    monkeypatch.setattr(keras.Model, "export", spoil)
    for path, format in ((tmp_path / "model", "saved_model"), (tmp_path / "m.tflite", "litert")):
        report = attn_tf.export(model, path, format, verbose=False)
        np.testing.assert_allclose(report.max_difference, 0.5, atol=1e-5)


def test_several_inputs_and_outputs(tmp_path):
    model = two_inputs()
    for path, format in ((tmp_path / "model", "saved_model"), (tmp_path / "m.tflite", "litert")):
        assert attn_tf.export(model, path, format, verbose=False).max_difference < 1e-6
    data = [[np.ones((1, 5)), np.full((1, 3), scale)] for scale in (-1.0, 1.0)]
    report = attn_tf.export(
        model, path, format, quantize="int8", representative_data=data, verbose=False
    )
    assert 0 < report.max_difference < 0.1


@pytest.mark.parametrize("name", ["CBAM", "GFNet"])
def test_quantization(name, tmp_path):
    """Eight bits: smaller files, and numbers that are near, not equal."""
    model, path = network(name), tmp_path / "model.tflite"
    rng = np.random.default_rng(1)
    data = [rng.standard_normal((1, *model.input_shape[1:])) for _ in range(8)]
    plain = attn_tf.export(model, path, "litert", sample=data[0], verbose=False)
    for quantize, more in (("dynamic", {}), ("int8", {"representative_data": iter(data)})):
        report = attn_tf.export(
            model, path, "litert", quantize=quantize, sample=data[0], verbose=False, **more
        )
        assert plain.max_difference < report.max_difference < 0.1 * report.largest_output
        assert report.size_bytes < plain.size_bytes
        assert report.quantize == quantize


def test_operations_without_counterpart_are_named(tmp_path):
    class Net(keras.Model):
        """Layers whose names end in numbers, one inside the other."""

        def __init__(self):
            super().__init__(name="net_2")
            self.block = attn_tf.networks.GFNetBlock(name="block_1")
            self.last = keras.layers.Dense(3, name="block")

        def call(self, x):
            return self.last(self.block(x))

    model, x = Net(), np.ones((1, 8, 8, 4))
    model(x)
    attn_tf.export(model, tmp_path / "m.tflite", "litert", sample=x, verbose=False)
    model.block.filter.method = "fft"
    with pytest.raises(ValueError, match="IRFFT2D in GlobalFilter 'net_2/block_1/filter'") as told:
        attn_tf.export(model, tmp_path / "m.tflite", "litert", sample=x, verbose=False)
    assert "converts" in str(told.value)
    assert model.block.filter.method == "fft"

    images = keras.Input((40, 40, 4))
    large = keras.Model(images, attn_core.GlobalFilter(name="large")(images), name="portable")
    with pytest.raises(ValueError, match=r"'portable': .*FFT.* in GlobalFilter 'large'"):
        attn_tf.export(large, tmp_path / "m.tflite", "litert", verbose=False)


def test_other_errors_of_the_converter_pass(tmp_path):
    with pytest.raises(ValueError, match="Unknown converter attribute 'nonsense'"):
        attn_tf.export(small_cnn(), tmp_path / "m.tflite", "litert", nonsense=1)


def test_runs_without_xnnpack_where_that_refuses(tmp_path, monkeypatch):
    real = ai_edge_litert.interpreter.Interpreter

    def picky(path, **options):
        if "experimental_op_resolver_type" not in options:
            raise RuntimeError("failed to create XNNPACK runtime")
        return real(path, **options)

    monkeypatch.setattr(ai_edge_litert.interpreter, "Interpreter", picky)
    report = attn_tf.export(small_cnn(), tmp_path / "m.tflite", "litert", verbose=False)
    assert report.max_difference < 1e-6
    assert "XNNPACK" in report.note
    assert report.note in str(report)


def test_missing_runtime_is_explained_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(litert, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "attn-tf\[export\]"'):
        attn_tf.export(small_cnn(), tmp_path / "m.tflite", "litert")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "onnx"}, ("`format`", "'onnx'")),
        ({"quantize": "int8"}, ("`quantize`", "'int8'", "'saved_model'")),
        ({"format": "litert", "quantize": "int4"}, ("`quantize`", "'int4'")),
        ({"format": "litert", "quantize": "int8"}, ("`representative_data`", "0 batches")),
        ({"representative_data": [np.ones((1, 16, 16, 3))]}, ("`representative_data`", "1 batch")),
    ],
)
def test_bad_arguments(arguments, words, tmp_path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        attn_tf.export(small_cnn(), tmp_path / "model", **arguments)
    for word in words:
        assert word in str(caught.value)


def test_unknown_sizes_need_a_sample(tmp_path):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, attn_core.SEAttention(1)(images))
    with pytest.raises(ValueError, match=r"give a `sample`.*None, None, 3"):
        attn_tf.export(model, tmp_path / "model")
    report = attn_tf.export(model, tmp_path / "model", sample=np.ones((2, 5, 4, 3)), verbose=False)
    assert report.shape == (2, 5, 4, 3)
    assert report.max_difference < 1e-6


def takes(kind):
    """Return a model of one input of a kind, or of a dictionary of two."""
    if kind == "dict":
        one, other = keras.Input((4,), name="a"), keras.Input((4,), name="b", dtype="int32")
        outputs = keras.layers.Dense(2)(one) + keras.layers.Embedding(3, 2)(other)[:, 0]
        return keras.Model({"b": other, "a": one}, outputs)
    x = keras.Input((4,), dtype=kind)
    whole = kind in ("int32", "int64", "uint8")
    y = keras.layers.Embedding(2, 3)(x) if whole else keras.ops.cast(x, "float32")
    return keras.Model(x, keras.layers.Dense(2)(y))


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_pictures_of_bytes(quantize, tmp_path):
    """A camera gives bytes, and the file takes them, also where it computes in 8 bits."""
    pixels = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))
    rng = np.random.default_rng(0)
    data = [rng.integers(0, 256, (1, 8, 8, 3)).astype("uint8") for _ in range(3 * bool(quantize))]
    options = {"quantize": quantize, "representative_data": data or None, "verbose": False}
    path = tmp_path / "model.tflite"
    report = attn_tf.export(model, path, "litert", **options)
    assert report.max_difference < (0.05 if quantize else 1e-5) * report.largest_output
    interpreter = ai_edge_litert.interpreter.Interpreter(str(path))
    (details,) = interpreter.get_input_details()
    assert details["dtype"] is np.uint8


@pytest.mark.parametrize("kind", ["int32", "int64", "bool", "uint8", "dict"])
@pytest.mark.parametrize("format", ["saved_model", "litert"])
def test_samples_follow_the_inputs(kind, format, tmp_path):
    model = takes(kind)
    path = tmp_path / ("model.tflite" if format == "litert" else "model")
    report = attn_tf.export(model, path, format, verbose=False)
    assert report.max_difference < 1e-4 * max(1.0, report.largest_output)
    if kind == "int32":
        sample = np.array([[0, 1, 1, 0]], "int64")
        assert (
            attn_tf.export(model, path, format, sample=sample, verbose=False).max_difference < 1e-5
        )
        with pytest.raises(ValueError, match="numbers of the model's dtype, int32"):
            attn_tf.export(model, path, format, sample=sample + 0.5, verbose=False)
