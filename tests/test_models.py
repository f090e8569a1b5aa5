"""The networks: the authors' numbers, the authors' number of parameters, files, errors."""

import copy
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from attn_core import load_torch_weights, models
from attn_core._weights.entries import entries, namings
from attn_core.models._mobile_parts import InvertedResidual
from attn_core.models._rest import ResTBlock
from gradients import compiled_call, value_and_gradients
from networks import PARAMETERS, RESIZED, TINY
from reference import MODEL_VECTORS, read

NETWORKS = [name for name in models.__all__ if hasattr(getattr(models, name), "VARIANTS")]
ANY_SIZE = [name for name in NETWORKS if "image_size" not in TINY[name]]
SAVED = sorted((Path(__file__).parent / "saved" / "networks").glob("*.keras"))
IMAGES = (8, 64, 64, 3)
"""One shape for most tests of a network, which one process runs: it compiles them once."""


COMPILES_ONCE = "JAX_DISABLE_MOST_OPTIMIZATIONS" in os.environ and keras.config.backend() == "jax"
"""Whether the outputs in training are left to other backends and to `nox -s proof`: on JAX, where a
network takes ten seconds to compile, CI has one compiled call of each."""


def each(names):
    """Parametrize a test by names of networks."""
    groups = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]
    return pytest.mark.parametrize("name", groups)


def first_on_every_backend(paths):
    """Parametrize by vectors; of each network, other backends compute the first one alone."""
    first = {read(path)[0]["layer"]: path for path in reversed(paths)}.values()
    marks = {path: [pytest.mark.every_backend] * (path in first) for path in paths}
    vectors = [pytest.param(path, marks=marks[path], id=path.stem) for path in paths]
    return pytest.mark.parametrize("path", vectors)


@first_on_every_backend(MODEL_VECTORS)
def test_output_and_gradient(path, record_error):
    meta, arrays = read(path)
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["config"].items()}
    model = getattr(models, meta["layer"])(**config)
    if not model.built:
        model.build(arrays["input/x"].shape)
    load_torch_weights(model, path, prefix="weights/")
    theirs = [array.size for name, array in arrays.items() if name.startswith("weights/")]
    assert model.count_params() == sum(theirs)

    output, (gradient,), _ = value_and_gradients(model, [arrays["input/x"]], arrays["cotangent"])
    errors = {"output": np.abs(output - arrays["output"]).max()}
    errors["grad/x"] = np.abs(gradient - arrays["grad/x"]).max()
    if "output_training" in arrays and not COMPILES_ONCE:
        trained = compiled_call(model, [arrays["input/x"]], training=True)
        errors["output_training"] = np.abs(trained - arrays["output_training"]).max()
    record_error(meta["layer"], path.stem, meta["atol"], errors)
    for name, error in errors.items():
        bound = 10 * meta["atol"] if name.startswith("grad/") else meta["atol"]
        assert error <= bound, f"{name}: {error} > {bound}"


@each(NETWORKS)
def test_number_of_trainable_parameters(name):
    network = getattr(models, name)
    assert network.list_variants() == list(PARAMETERS[name])
    counts = {}
    for variant in PARAMETERS[name]:
        # In a stateless scope variables have shapes but no values: the largest take gigabytes.
        with keras.StatelessScope(initialize_variables=False):
            model = network.from_variant(variant)
        counts[variant] = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    keras.utils.clear_session()  # forgets the variables that never got a value
    assert counts == PARAMETERS[name]


@each(NETWORKS)
def test_file_and_config(name, tmp_path):
    model = getattr(models, name)(**TINY[name], num_classes=3, drop_path=0.1)
    x = np.random.default_rng(0).standard_normal(IMAGES).astype("float32")
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(reloaded) is type(model)
    assert reloaded.get_config() == model.get_config()
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(reloaded(x)), expected, atol=1e-6)


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_saved_before(path):
    """Files that were saved by version 0.1.0, on PyTorch, give what they gave then."""
    model = keras.saving.load_model(path)
    assert type(model) is getattr(models, path.stem)
    x = np.random.default_rng(1).standard_normal((2, 32, 32, 3)).astype("float32")
    expected = np.load(path.with_suffix(".npz"))["output"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), expected, atol=1e-5)


def test_files_load_in_a_new_process():
    """`import attn_core` suffices for a file of a network."""
    program = "import sys, keras, attn_core; print(keras.saving.load_model(sys.argv[1]).name)"
    run = [sys.executable, "-c", program, str(SAVED[0])]
    result = subprocess.run(run, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [SAVED[0].stem.lower()]


@each(NETWORKS)
@pytest.mark.parametrize(
    ("argument", "value", "hint"),
    [
        ("num_clases", 10, "did you mean `num_classes`?"),
        ("drop_out", 0.1, "did you mean `dropout`?"),
        ("traineble", False, "did you mean `trainable`?"),
        ("in_chans", 1, "did you mean `in_channels`?"),
        ("input_shape", (64, 64, 1), "did you mean `in_channels`"),
        ("weights", "imagenet", "load_torch_weights(network, file)"),
        ("nonsense", 1, "num_classes, include_top"),
        ("weigths", "imagenet", "load_torch_weights(network, file)"),
        ("pretrained", True, "load_torch_weights(network, file)"),
        ("img_size", 64, {"MobileViT": "takes images of any size", "CoAtNet": "`image_size`?"}),
    ],
)
def test_unknown_arguments_are_refused(name, argument, value, hint):
    network = getattr(models, name)
    for build in (
        network,
        lambda **given: network.from_variant(network.list_variants()[0], **given),
    ):
        with pytest.raises(ValueError, match=f"there is no argument `{argument}`") as caught:
            build(**{argument: value})
        message = str(caught.value)
        assert message.startswith(name)
        assert (hint if isinstance(hint, str) else hint.get(name, "size")) in message
        assert f"{argument}={value!r}" in message


@each(NETWORKS)
def test_images_of_other_channels(name):
    """Grey and multispectral images: the same network, but for the kernels that see the images."""
    network = getattr(models, name)
    colour, grey = (network(**TINY[name], in_channels=channels) for channels in (3, 1))
    assert (colour.input_shape[-1], grey.input_shape[-1]) == (3, 1)
    assert [w.shape for w in network(**TINY[name]).weights] == [w.shape for w in colour.weights]
    differ = [
        (one.shape, other.shape)
        for one, other in zip(colour.weights, grey.weights, strict=True)
        if one.shape != other.shape
    ]
    assert differ
    for one, other in differ:
        assert other == tuple(1 if n == 3 and i == len(one) - 2 else n for i, n in enumerate(one))
    assert network.from_config(grey.get_config()).input_shape == grey.input_shape


@each(NETWORKS)
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_pooled_features(name, pooling):
    network = getattr(models, name)
    model = network(**TINY[name], include_top=False, pooling=pooling)
    x = np.random.default_rng(0).standard_normal(IMAGES).astype("float32")
    last = keras.tree.flatten(model.feature_maps()(x))[-1]
    last = keras.ops.convert_to_numpy(last)
    expected = (last.mean if pooling == "avg" else last.max)(axis=(1, 2))
    output = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    assert network.from_config(model.get_config()).output_shape == model.output_shape
    with pytest.raises(ValueError, match=f"{name}.*`pooling` goes with `include_top=False`"):
        network(**TINY[name], pooling=pooling)


@each([name for name in NETWORKS if name not in ANY_SIZE])
def test_rectangular_images(name):
    network, config = getattr(models, name), {**TINY[name], "include_top": False}
    wide = network(**{**config, "image_size": (32, 64)})
    assert wide.input_shape == (None, 32, 64, 3)
    features = wide.output_shape[1:3]
    assert features[1] == 2 * features[0]
    x = np.random.default_rng(0).standard_normal((2, 32, 64, 3)).astype("float32")
    assert np.isfinite(keras.ops.convert_to_numpy(wide(x))).all()
    assert network.from_config(wide.get_config()).output_shape == wide.output_shape
    square = network(**{**config, "image_size": 32})
    assert square.get_config()["image_size"] == (32, 32)
    with pytest.raises(ValueError, match=f"{name}.*image_size"):
        network(**{**config, "image_size": (64, 33)})
    if name != "VisionPermutator":  # which has no published way
        assert square.resized((32, 64)).output_shape == wide.output_shape


def test_too_many_arguments_by_position():
    with pytest.raises(TypeError, match=r"^GFNet: too many positional arguments"):
        models.GFNet(8, 2)


@each(NETWORKS)
def test_copies(name):
    """`copy.deepcopy` keeps class, weights and frozen layers; Keras' `clone_model` cannot."""
    model = getattr(models, name)(**TINY[name], num_classes=3)
    frozen = [layer for layer in model.layers if layer.weights][1]
    frozen.trainable = False
    x = np.random.default_rng(0).standard_normal(IMAGES).astype("float32")
    twin = copy.deepcopy(model)
    assert type(twin) is type(model)
    assert not twin.get_layer(frozen.name).trainable
    assert len(twin.trainable_weights) == len(model.trainable_weights)
    assert not {id(weight) for weight in twin.weights} & {id(weight) for weight in model.weights}
    output = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(twin(x)), output, atol=1e-6)
    ours, copied = (
        {scheme: list(names) for scheme, names in namings(one).items()} for one in (model, twin)
    )
    assert copied == ours
    assert twin.feature_maps().output_shape == model.feature_maps().output_shape

    inputs = keras.Input(x.shape[1:])
    outer = keras.models.clone_model(keras.Model(inputs, model(inputs)))
    assert type(outer.layers[1]) is type(model)
    clone = keras.models.clone_model(model)
    with pytest.raises(ValueError, match=r"a plain model: .* copy it by `copy\.deepcopy`"):
        load_torch_weights(clone, {})


@each(NETWORKS)
def test_feature_maps(name):
    model = getattr(models, name)(**TINY[name], num_classes=3)
    x = np.random.default_rng(0).standard_normal(IMAGES).astype("float32")
    maps = keras.tree.flatten(model.feature_maps()(x))
    sides = [one.shape[1] for one in maps]
    assert sides == sorted(sides, reverse=True)

    features = getattr(models, name)(**TINY[name], include_top=False)
    weights = {weight.path: weight for weight in model.weights}
    for weight in features.weights:
        weight.assign(weights[weight.path])
    last = keras.ops.convert_to_numpy(features(x))
    assert last.shape == features.compute_output_shape(x.shape)
    np.testing.assert_allclose(last, keras.ops.convert_to_numpy(maps[-1]), atol=1e-6)


@each(ANY_SIZE)
def test_images_of_any_size(name):
    """One model takes several sizes; so does one graph, traced for unknown ones."""
    model = getattr(models, name)(**TINY[name], num_classes=3)
    maps = graph = model.feature_maps()
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        graph = tf.function(maps, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for size in ((64, 64), (32, 96)):
        x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
        assert tuple(model(x).shape) == (2, 3)
        shapes = maps.compute_output_shape(x.shape)
        for eager, traced, shape in zip(maps(x), graph(x), shapes, strict=True):
            assert tuple(eager.shape) == shape
            eager, traced = keras.ops.convert_to_numpy(eager), keras.ops.convert_to_numpy(traced)
            np.testing.assert_allclose(traced, eager, atol=1e-5)


@each(NETWORKS)
def test_dropout_and_drop_path_act_in_training_alone(name):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(IMAGES).astype("float32")
    plain = getattr(models, name)(**TINY[name], num_classes=3)
    # Branches that start at zero would hide what is dropped of them.
    weights = [weight + 0.1 * rng.random(weight.shape) for weight in plain.get_weights()]
    plain.set_weights(weights)
    expected = keras.ops.convert_to_numpy(plain(x))
    for rate in ("dropout", "drop_path"):
        model = getattr(models, name)(**TINY[name], num_classes=3, **{rate: 0.5})
        model.set_weights(weights)
        output = keras.ops.convert_to_numpy(model(x))
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
        first, second = (keras.ops.convert_to_numpy(model(x, training=True)) for _ in range(2))
        assert np.abs(first - second).max() > 1e-6, rate


@pytest.mark.parametrize("kind", ["resized", "fuse"])
def test_training_a_copy_leaves_the_original(kind):
    """On JAX a compiled step gives the memory of its weights away."""
    if kind == "resized":
        model = models.GFNet(**TINY["GFNet"], num_classes=3)
        other = model.resized(64)
    else:
        model = models.ParNet(**TINY["ParNet"], num_classes=3)
        other = model.fuse()
    x = np.random.default_rng(0).standard_normal(IMAGES).astype("float32")
    before = keras.ops.convert_to_numpy(model(x))
    other.compile("sgd", "mse")
    other.train_on_batch(x, np.ones((len(x), 3), "float32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(x)), before)


@each(RESIZED)
def test_another_resolution(name):
    model = getattr(models, name)(**TINY[name], num_classes=3)
    same = model.resized(64)
    x = np.random.default_rng(0).standard_normal(IMAGES).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(same(x)), expected, atol=1e-6)

    side = RESIZED[name]
    larger = model.resized(side)
    assert larger.input_shape == (None, side, side, 3)
    assert np.isfinite(keras.ops.convert_to_numpy(larger(np.ones((1, side, side, 3))))).all()
    changed = 0
    for ours, theirs in zip(larger.weights, model.weights, strict=True):
        ours, theirs = (keras.ops.convert_to_numpy(weight) for weight in (ours, theirs))
        if ours.shape == theirs.shape:
            np.testing.assert_array_equal(ours, theirs)
        else:  # interpolation stays within the range of the values
            assert theirs.min() <= ours.min() < ours.max() <= theirs.max()
            changed += 1
    blocks = [layer for layer in model.layers if "block" in layer.name]
    # Of Swin, only the last stage had windows smaller than `window_size`.
    filters = 1 + len(blocks)
    expected = {"CoAtNet": 2, "GFNet": filters, "GFNetPyramid": filters, "Swin": 1}
    assert changed == expected[name]


def test_relative_biases_are_interpolated_over_the_offsets():
    model = models.CoAtNet(**TINY["CoAtNet"])
    for layer in model.layers:
        for child in layer._flatten_layers():
            if hasattr(child, "resize_from"):
                rows, columns = (2 * length - 1 for length in child.size)
                ramp = np.add.outer(np.arange(rows) / 4, np.arange(columns) / 8)
                heads = child.num_heads
                child.table.assign(np.repeat(ramp.reshape(-1, 1), heads, axis=1))
    larger = model.resized(128)
    for layer in larger.layers:
        for child in layer._flatten_layers():
            if hasattr(child, "resize_from"):
                rows, columns = (2 * length - 1 for length in child.size)
                table = keras.ops.convert_to_numpy(child.table)[:, 0].reshape(rows, columns)
                # A plane stays a plane, corners and the bias of offset 0 stay what they were.
                old = [length / 2 for length in child.size]
                top = np.linspace(0, (2 * old[0] - 2) / 4, rows)
                left = np.linspace(0, (2 * old[1] - 2) / 8, columns)
                np.testing.assert_allclose(table, np.add.outer(top, left), atol=1e-6)


OTHER_BLOCKS = {
    **TINY["CoAtNet"],
    "stem_width": (4, 8),
    "num_classes": 3,
    "form": {"activation": "silu", "inner_width": "input", "norm": "batch", "bias_dim": 4},
}


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_other_blocks_of_coatnet_in_files(name, tmp_path):
    model = models.CoAtNet(**OTHER_BLOCKS)
    assert model.get_config()["form"] == OTHER_BLOCKS["form"]
    x = np.random.default_rng(0).standard_normal(IMAGES).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x))
    model.save(tmp_path / name)
    for twin in (copy.deepcopy(model), keras.saving.load_model(tmp_path / name)):
        assert twin.get_config() == model.get_config()
        np.testing.assert_allclose(keras.ops.convert_to_numpy(twin(x)), expected, atol=1e-6)


def test_computed_biases_serve_all_sizes():
    """The MLP stays, and the bias of an offset is the same at each size."""
    model = models.CoAtNet(**OTHER_BLOCKS)
    larger = model.resized(128)
    for ours, theirs in zip(larger.weights, model.weights, strict=True):
        assert ours.shape == theirs.shape
    layers = [one.get_layer("stage_2_block_0").attention for one in (model, larger)]
    grids = [
        keras.ops.convert_to_numpy(one.biases()).reshape(*(2 * side - 1 for side in one.size), -1)
        for one in layers
    ]
    np.testing.assert_allclose(grids[1][4:-4, 4:-4], grids[0], atol=1e-6)


def test_computed_biases_in_8_bits(tmp_path):
    model = models.CoAtNet(**OTHER_BLOCKS)
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).standard_normal(IMAGES).astype("float32")
    outputs = (one(x) for one in (model, keras.saving.load_model(tmp_path / "model.keras")))
    expected, output = map(keras.ops.convert_to_numpy, outputs)
    np.testing.assert_allclose(output, expected, atol=1e-6)


def test_a_form_may_be_a_record():
    form = models.CoAtNetForm(**OTHER_BLOCKS["form"])
    model = models.CoAtNet(**{**OTHER_BLOCKS, "form": form})
    assert model.get_config() == models.CoAtNet(**OTHER_BLOCKS, name=model.name).get_config()
    assert models.CoAtNet(**{**OTHER_BLOCKS, "form": None}).get_config()["form"] == {}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("rw", "`form` must be a CoAtNetForm, or a dict of activation, pre_activation"),
        ({"early_se": True}, "`form` must be a CoAtNetForm"),
        ({"pooling": "min"}, "`pooling` must be one of 'avg', 'max'"),
        ({"inner_width": 3}, "`inner_width` must be one of"),
        ({"downsample": "conv"}, "`downsample` must be one of"),
        ({"norm": "group"}, "`norm` must be one of"),
        ({"se_early": 1}, "`se_early` must be True or False"),
        ({"activation": "gleu"}, "`activation` must be the name of a Keras activation"),
        ({"bias_dim": 0}, "`bias_dim` must be an integer"),
        ({"layer_scale": "small"}, "`layer_scale` must be a finite number"),
    ],
)
def test_bad_forms(form, message):
    with pytest.raises(ValueError, match=message):
        models.CoAtNet(**{**OTHER_BLOCKS, "form": form})


def test_attention_within_the_width_of_its_input():
    config = {**OTHER_BLOCKS, "embed_dim": (8, 12, 16, 16)}
    with pytest.raises(ValueError, match="`embed_dim` must be divisible by key_dim=8"):
        models.CoAtNet(**config)


def window_attentions(model):
    """Return the window attentions of each stage."""
    blocks = [layer for layer in model.layers if "block" in layer.name]
    return [
        [block.mixer for block in blocks if block.name.startswith(f"stage_{stage}")]
        for stage in range(4)
    ]


def test_windows_of_swin():
    """They are shifted in every second block; a map that is no longer on a side has no shift."""
    config = {**TINY["Swin"], "depths": 3, "image_size": (64, 128), "window_size": (4, 2, 8, 2)}
    model = models.Swin(**config)
    windows = [[(one.block_size, one.shift) for one in stage] for stage in window_attentions(model)]
    assert windows == [
        [(4, 0), (4, 2), (4, 0)],  # 16 x 32
        [(2, 0), (2, 1), (2, 0)],  # 8 x 16
        [(4, 0)] * 3,  # 4 x 8
        [(2, 0)] * 3,  # 2 x 4
    ]


def test_biases_of_windows_are_interpolated_over_the_offsets():
    """Where windows change: a plane stays a plane, and the bias of offset 0 what it was."""
    model = models.Swin(**TINY["Swin"])
    for attention in itertools.chain(*window_attentions(model)):
        rows = 2 * attention.block_size - 1
        ramp = np.add.outer(np.arange(rows), 2 * np.arange(rows)).reshape(-1, 1)
        attention.table.assign(np.repeat(ramp, attention.num_heads, axis=1))
    larger = model.resized(64, window_size=8)
    for before, after in zip(window_attentions(model), window_attentions(larger), strict=True):
        for old, new in zip(before, after, strict=True):
            offsets = np.linspace(0, 2 * old.block_size - 2, 2 * new.block_size - 1)
            expected = np.add.outer(offsets, 2 * offsets).reshape(-1)
            for table in keras.ops.convert_to_numpy(new.table).T:
                np.testing.assert_allclose(table, expected, atol=1e-5)
    sides = [[stage[0].block_size for stage in window_attentions(one)] for one in (model, larger)]
    assert sides == [[4, 4, 4, 2], [8, 8, 4, 2]]


@pytest.mark.parametrize("top", [True, False])
def test_names_of_swin(top):
    """The authors' and timm's: there a stage begins with the merging that ended the one before."""
    path = next(path for path in MODEL_VECTORS if path.stem == "model_swin__tiny")
    meta, arrays = read(path)
    authors = {k.removeprefix("weights/"): v for k, v in arrays.items() if "weights/" in k}
    block = "layers.0.blocks.1.attn"
    buffers = {f"{block}.relative_position_index": 0, "layers.0.blocks.1.attn_mask": -100.0}
    timm = {}
    for name, value in authors.items():
        name = name.replace("head.", "head.fc.")
        if "downsample" in name:
            stage = int(name.split(".")[1])
            name = name.replace(f"layers.{stage}.", f"layers.{stage + 1}.")
        timm[name] = value
    assert set(timm) != set(authors)
    config = {**meta["config"], "include_top": top}
    outputs = []
    for state in ({**authors, **buffers}, timm):
        model = models.Swin(**config)
        left = load_torch_weights(model, state, skip_mismatch=not top).left
        assert len(left) == (0 if top else 2)
        outputs.append(keras.ops.convert_to_numpy(model(arrays["input/x"])))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    if top:
        np.testing.assert_allclose(outputs[0], arrays["output"], atol=meta["atol"])


def test_rest_without_biases_and_transform():
    model = models.ResT(**TINY["ResT"], qkv_bias=False, apply_transform=False)
    assert not [name for name in entries(model) if name.endswith(("q.bias", "kv.bias"))]
    assert not [name for name in entries(model) if "transform" in name]


@pytest.mark.parametrize("argument", ["dropout", "drop_path"])
def test_rest_block_drops_both_branches(argument):
    keras.utils.set_random_seed(0)
    block = ResTBlock(2, **{argument: 0.999999})
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 8)).astype("float32")
    output = keras.ops.convert_to_numpy(block(x, training=True))
    np.testing.assert_array_equal(output, x)
    assert np.abs(keras.ops.convert_to_numpy(block(x)) - x).max() > 1e-3


def test_bottleneck_takes_both_data_formats(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 7, 10, 20)).astype("float32")
    inputs = keras.Input((20, None, None))
    layer = models.CoTBottleneck(8, strides=2, data_format="channels_first")
    first = keras.Model(inputs, layer(inputs))
    assert first.output_shape == (None, 32, None, None)
    first.save(tmp_path / "model.keras")
    first = keras.saving.load_model(tmp_path / "model.keras")
    last = models.CoTBottleneck(8, strides=2, data_format="channels_last")
    last.build(x.shape)
    last.set_weights(layer.get_weights())
    expected = keras.ops.convert_to_numpy(last(x))
    assert expected.shape == last.compute_output_shape(x.shape) == (2, 4, 5, 32)
    output = keras.ops.convert_to_numpy(first(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(output.transpose(0, 2, 3, 1), expected, atol=1e-5)


def test_namings_of_the_parts_are_not_mixed():
    """A network of parts with several schemes has each scheme once, not one for each mixture."""
    sizes = {"filters": (8, 8, 16, 16), "stem_width": 8}
    model = models.AttentionResNet(("se", "triplet", "gc", None), **sizes)
    schemes = namings(model)
    authors, networks, timm = (schemes[name] for name in ("authors", "authors' networks", "timm"))
    assert len(schemes) == 3
    for names, words in (
        (authors, (".fc.0.", ".cw.", ".channel_add_conv.")),
        (timm, (".fc1.", ".cw.", ".mlp_add.")),
        (networks, (".fc.0.", ".ChannelGateH.", ".channel_add_conv.")),
    ):
        for word in words:
            assert any(word in name for name in names), word
    assert len(authors) == len(networks) == len(timm)
    assert {id(v) for e in authors.values() for v in e.variables} == {
        id(weight) for weight in model.weights if "seed" not in weight.path
    }


@pytest.mark.parametrize("stage", range(4))
def test_each_stage_has_its_own_attention(stage):
    attention = tuple("eca" if i == stage else None for i in range(4))
    options = tuple({"kernel_size": 2 * i + 1} for i in range(4))
    sizes = {"depths": 2, "filters": 8, "stem_width": 8, "num_classes": 3}
    model = models.AttentionResNet(attention, attention_options=options, **sizes)
    kernels = {w.path: tuple(w.shape) for w in model.weights if "attention" in w.path}
    blocks = [f"stage_{stage}_block_{i}" for i in range(2)]
    assert kernels == {f"{block}/attention/kernel": (2 * stage + 1,) for block in blocks}


def test_fused_parnet(tmp_path):
    """The inference form gives the same numbers, also from files and from the authors' weights."""
    path = next(path for path in MODEL_VECTORS if path.stem == "model_parnet__tiny")
    meta, arrays = read(path)
    config = {**meta["config"], "drop_path": 0.1}
    model = models.ParNet(**config)
    load_torch_weights(model, path, prefix="weights/")
    before, fused = model.get_weights(), model.fuse()
    changed = {"fused": True, "name": f"{model.name}_fused"}
    assert fused.get_config() == {**model.get_config(), **changed}
    fused.save(tmp_path / "fused.keras")
    reloaded = keras.saving.load_model(tmp_path / "fused.keras")
    assert type(reloaded) is type(model)
    assert reloaded.get_config() == fused.get_config()
    given = models.ParNet(**config, fused=True)
    load_torch_weights(given, fold(arrays))
    for network in (fused, reloaded, given, fused.fuse()):
        output = keras.ops.convert_to_numpy(network(arrays["input/x"]))
        np.testing.assert_allclose(output, arrays["output"], atol=meta["atol"])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def fold(arrays) -> dict:
    """Return the weights of a file of ParNet's as the authors' `fuse_repvgg_block` leaves them."""
    state = {k.removeprefix("weights/"): v for k, v in arrays.items() if k.startswith("weights/")}

    def branch(name):
        numbers = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (state.pop(f"{name}.bn.{number}") for number in numbers)
        scale = gamma / np.sqrt(variance + 1e-5)
        return state.pop(f"{name}.conv.weight") * scale[:, None, None, None], beta - mean * scale

    for name in [name.removesuffix("dense.conv.weight") for name in state if "dense.conv" in name]:
        pooled = f"{name}1x1.1.conv.weight" in state
        kernel, bias = branch(f"{name}dense")
        centre, offset = branch(f"{name}1x1.1" if pooled else f"{name}1x1")
        middle = slice(1, 3 if pooled else 2)
        kernel[:, :, middle, middle] += centre / 4 if pooled else centre
        state |= {f"{name}dense.weight": kernel, f"{name}dense.bias": bias + offset}
    return state


@pytest.mark.parametrize(
    ("variant", "count"),
    # Counted in the authors' networks (see `PARAMETERS`) after `fuse_repvgg_block` of every block.
    [
        ("parnet_s", 19_128_980),
        ("parnet_m", 35_576_616),
        ("parnet_l", 54_914_824),
        ("parnet_xl", 84_962_784),
    ],
)
def test_number_of_parameters_of_fused_parnet(variant, count):
    with keras.StatelessScope(initialize_variables=False):
        model = models.ParNet.from_variant(variant, fused=True)
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == count
    keras.utils.clear_session()


def test_width_of_inverted_residuals():
    """A multiple of 8, at least 8, not a tenth below 10 * expansion; 10 where nothing is widened.

    The published networks have such widths without rounding.
    """
    for expansion, width in ((1, 10), (0.1, 8), (1.3, 16), (1.9, 24), (2.6, 24)):
        block = InvertedResidual(12, expansion=expansion)
        block.build((None, None, None, 10))
        assert block.depthwise.filters == width
        assert (block.expand is None) == (expansion == 1)
        assert tuple(block(np.ones((1, 5, 4, 10))).shape) == (1, 5, 4, 12)
    halves = InvertedResidual(12, strides=2)
    assert tuple(halves(np.ones((1, 5, 4, 10))).shape) == (1, 3, 2, 12)
    assert halves.compute_output_shape((None, 5, None, 10)) == (None, 3, None, 12)


def test_dropout_of_mobile_vit():
    """In the transformers and before the classifier, as the authors train it."""
    model = models.MobileViT(**TINY["MobileViT"], dropout=0.5)
    assert model.get_layer("head_dropout").rate == 0.5
    rates = [encoder.drop.rate for encoder in model.get_layer("stage_4_attention").encoders]
    assert rates == [0.5]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: models.GFNet(image_size=30, patch_size=16), ("GFNet", "image_size", "30")),
        (lambda: models.GFNet(0), ("GFNet", "embed_dim", "0")),
        (lambda: models.GFNet(dropout=1.0), ("GFNet", "dropout", "1.0")),
        (lambda: models.CoAtNet(image_size=(224, 100)), ("CoAtNet", "image_size", "100")),
        (lambda: models.CoAtNet((8, 8)), ("CoAtNet", "embed_dim", "4")),
        (lambda: models.CoAtNet(block_types=("C", "X")), ("CoAtNet", "block_types", "'X'")),
        (lambda: models.CoAtNet(key_dim=50), ("CoAtNet", "key_dim", "384")),
        (lambda: models.VOLO(image_size=232), ("VOLO", "image_size", "16", "232")),
        (lambda: models.VOLO(patch_size=7), ("VOLO", "patch_size", "7")),
        (lambda: models.VOLO((192, 384, 768, 384)), ("VOLO", "embed_dim", "768")),
        (lambda: models.VOLO(num_heads=(6, 12, 10, 12)), ("VOLO", "num_heads=10", "384")),
        (lambda: models.VOLO(kernel_size=4), ("VOLO", "kernel_size", "4")),
        (lambda: models.VOLO(class_blocks=-1), ("VOLO", "class_blocks", "-1")),
        (lambda: models.VisionPermutator(image_size=231), ("VisionPermutator", "14", "231")),
        (lambda: models.VisionPermutator((16, 32)), ("VisionPermutator", "depths", "2")),
        (lambda: models.VisionPermutator(segment_dim=10), ("VisionPermutator", "segment_dim=10")),
        (lambda: models.VisionPermutator(downsample=1), ("VisionPermutator", "downsample", "1")),
        (lambda: models.VisionPermutator(mlp_ratio=0.0), ("VisionPermutator", "mlp_ratio", "0.0")),
        (lambda: models.GFNet.from_variant("gfnet"), ("GFNet", "gfnet_ti", "'gfnet'")),
        (lambda: models.ResT((64, 128)), ("ResT", "embed_dim", "4", "(64, 128)")),
        (lambda: models.ResT(num_heads=(1, 3, 4, 8)), ("ResT", "embed_dim", "num_heads=3", "128")),
        (lambda: models.ResT(sr_ratio=0), ("ResT", "sr_ratio", "0")),
        (lambda: models.ResT(apply_transform=1), ("ResT", "apply_transform", "1")),
        (lambda: models.ResT(1, num_heads=1), ("ResT", "embed_dim[0]", "2", "1")),
        (lambda: models.CoTNet((3, 4, 6)), ("CoTNet", "depths", "4", "(3, 4, 6)")),
        (lambda: models.CoTNet(filters=(64, 128, 100, 512)), ("CoTNet", "filters", "8", "100")),
        (lambda: models.CoTNet(stem_width=0), ("CoTNet", "stem_width", "0")),
        (lambda: models.CoTNet.from_variant("cotnet50"), ("CoTNet", "cotnet_50", "'cotnet50'")),
        (lambda: models.CoTBottleneck(12), ("CoTBottleneck", "filters", "8", "12")),
        (lambda: models.CoTBottleneck(16, strides=3), ("CoTBottleneck", "strides", "1, 2", "3")),
        (lambda: models.CoTBottleneck(16).build((2, 8, 8)), ("CoTBottleneck", "4", "(2, 8, 8)")),
        (lambda: models.AttentionResNet("ce"), ("AttentionResNet", "attention", "'se'", "'ce'")),
        (lambda: models.AttentionResNet(("se", "eca")), ("AttentionResNet", "attention", "4")),
        (
            lambda: models.AttentionResNet("se", attention_options=4),
            ("AttentionResNet", "attention_options", "dict", "4"),
        ),
        (
            lambda: models.AttentionResNet("se", attention_options={"reduction": 0}),
            ("SEAttention", "reduction", "0"),
        ),
        (
            lambda: models.AttentionResNet("se", attention_options={"ratio": 4}),
            ("SEAttention", "ratio"),
        ),
        (lambda: models.AttentionResNet("sa", filters=24), ("ShuffleAttention", "groups", "96")),
        (lambda: models.ResNeSt(filters=9), ("ResNeSt", "filters", "radix=2", "9")),
        (lambda: models.ResNeSt(radix=0), ("ResNeSt", "radix", "0")),
        (lambda: models.HaloNet(block_types="CX"), ("HaloNet", "block_types", "'CX'")),
        (lambda: models.HaloNet(block_types=()), ("HaloNet", "block_types", "()")),
        (lambda: models.HaloNet(num_heads=3), ("HaloNet", "filters", "num_heads=3", "256")),
        (lambda: models.HaloNet(stem_widths=(8, 0)), ("HaloNet", "stem_widths[1]", "0")),
        (lambda: models.HaloNet(block_size=9), ("block_size", "strides=2", "9")),
        (
            lambda: models.HaloNet(**TINY["HaloNet"])(np.zeros((1, 64, 80, 3))),
            ("the width", "block_size=2", "5"),
        ),
        (lambda: models.Swin((64, 128)), ("Swin", "embed_dim", "4", "(64, 128)")),
        (lambda: models.Swin(num_heads=(3, 6, 12, 25)), ("Swin", "embed_dim", "=25", "768")),
        (lambda: models.Swin(window_size=0), ("Swin", "window_size", "0")),
        (lambda: models.Swin(image_size=(224, 240)), ("Swin", "image_size", "32", "240")),
        (lambda: models.Swin(image_size=384), ("Swin", "stage 0", "96 x 96", "7 x 7", "224")),
        (
            lambda: models.Swin(**{**TINY["Swin"], "image_size": (64, 96)}),
            ("Swin", "stage 2", "4 x 6", "4 x 4", "128", "image_size=(64, 96)"),
        ),
        (lambda: models.Swin(**TINY["Swin"]).resized(96), ("stage 2", "6 x 6", "image_size=(96")),
        (lambda: models.NAT(num_heads=(2, 4, 5, 16)), ("NAT", "embed_dim", "num_heads=5", "256")),
        (lambda: models.NAT(kernel_size=(7, 7, 7, 1)), ("NAT", "kernel_size[3]", "3", "1")),
        (lambda: models.NAT(1, num_heads=1), ("NAT", "embed_dim[0]", "2", "1")),
        (lambda: models.NAT(mlp_ratio=1e-3), ("NAT", "mlp_ratio * embed_dim", "0")),
        (lambda: models.VAN((32, 64)), ("VAN", "embed_dim", "4", "(32, 64)")),
        (lambda: models.VAN(mlp_ratio=1e-3), ("VAN", "mlp_ratio * embed_dim", "0")),
        (lambda: models.VAN(layer_scale="small"), ("VAN", "layer_scale", "'small'")),
        (lambda: models.ParNet((64, 128)), ("ParNet", "filters", "two or more", "(64, 128)")),
        (lambda: models.ParNet(depths=(4, 5)), ("ParNet", "depths", "3", "(4, 5)")),
        (lambda: models.ParNet(activation="swash"), ("ParNet", "activation", "'swash'")),
        (lambda: models.ParNet((8, 12, 15, 24)), ("ParNet", "filters", "groups=2", "15")),
        (lambda: models.ParNet(fused=None), ("ParNet", "fused", "None")),
        (
            lambda: models.ParNet(**TINY["ParNet"])(np.zeros((1, 48, 64, 3))),
            ("ParNet", "even", "32", "height=3"),
        ),
        (lambda: models.MobileViT((96, 120)), ("MobileViT", "embed_dim", "3", "(96, 120)")),
        (lambda: models.MobileViT(num_heads=(4, 5, 4)), ("MobileViT", "num_heads=5", "192")),
        (lambda: models.MobileViT(filters=(32, 64)), ("MobileViT", "filters", "5", "(32, 64)")),
        (lambda: models.MobileViT(kernel_size=2), ("MobileViT", "kernel_size", "odd", "2")),
        (lambda: models.MobileViT(mlp_ratio=1e-3), ("MobileViT", "mlp_ratio * embed_dim", "0")),
        (lambda: models.MobileViT(**TINY["MobileViT"]).resized(96), ("any size", "96")),
        (lambda: models.MobileViTv2(conv_depths=2), ("MobileViTv2", "conv_depths", "2")),
        (lambda: models.MobileViTv2(expansion=0), ("MobileViTv2", "expansion", "0")),
        (lambda: models.MobileViTv2(patch_size=(2, 0)), ("MobileViTv2", "patch_size[1]", "0")),
        (lambda: models.MobileViTv2(mlp_ratio=0.1), ("MobileViTv2", "mlp_ratio * embed_dim", "12")),
        (lambda: models.MobileViTv2(drop_path=1.0), ("MobileViTv2", "drop_path", "1.0")),
    ],
)
def test_bad_arguments(build, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        build()
    for word in words:
        assert word in str(caught.value)
