"""The networks: the authors' numbers, the authors' number of parameters, files, errors."""

import math

import keras
import numpy as np
import pytest
from attn_core import load_torch_weights, models
from gradients import value_and_gradients
from networks import PARAMETERS, TINY
from reference import MODEL_VECTORS, read

NETWORKS = [name for name in models.__all__ if hasattr(getattr(models, name), "VARIANTS")]


@pytest.mark.parametrize("path", MODEL_VECTORS, ids=lambda path: path.stem)
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
    if "output_training" in arrays:
        trained = keras.ops.convert_to_numpy(model(arrays["input/x"], training=True))
        errors["output_training"] = np.abs(trained - arrays["output_training"]).max()
    record_error(meta["layer"], path.stem, meta["atol"], errors)
    for name, error in errors.items():
        bound = 10 * meta["atol"] if name.startswith("grad/") else meta["atol"]
        assert error <= bound, f"{name}: {error} > {bound}"


@pytest.mark.parametrize("name", NETWORKS)
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


@pytest.mark.parametrize("name", NETWORKS)
def test_file_and_config(name, tmp_path):
    model = getattr(models, name)(**TINY[name], num_classes=3, drop_path=0.1)
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(reloaded) is type(model)
    assert reloaded.get_config() == model.get_config()
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(reloaded(x)), expected, atol=1e-6)
    features = getattr(models, name)(**TINY[name], include_top=False)
    assert len(features.output_shape) == 4
    maps = keras.tree.flatten(model.feature_maps()(x))
    assert tuple(maps[-1].shape) == (2, *features.output_shape[1:])
    sides = [one.shape[1] for one in maps]
    assert sides == sorted(sides, reverse=True)


@pytest.mark.parametrize("name", ["CoAtNet", "GFNet", "GFNetPyramid"])
def test_another_resolution(name):
    model = getattr(models, name)(**TINY[name], num_classes=3)
    same = model.resized(64)
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(same(x)), expected, atol=1e-6)

    larger = model.resized(96)
    assert larger.input_shape == (None, 96, 96, 3)
    assert np.isfinite(keras.ops.convert_to_numpy(larger(np.ones((1, 96, 96, 3))))).all()
    changed = 0
    for ours, theirs in zip(larger.weights, model.weights, strict=True):
        ours, theirs = (keras.ops.convert_to_numpy(weight) for weight in (ours, theirs))
        if ours.shape == theirs.shape:
            np.testing.assert_array_equal(ours, theirs)
        else:  # interpolation stays within the range of the values
            assert theirs.min() <= ours.min() < ours.max() <= theirs.max()
            changed += 1
    blocks = [layer for layer in model.layers if "block" in layer.name]
    expected = {"CoAtNet": 2, "GFNet": 1 + len(blocks), "GFNetPyramid": 1 + len(blocks)}
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
        (lambda: models.GFNet.from_variant("gfnet"), ("GFNet", "gfnet_ti", "'gfnet'")),
    ],
)
def test_bad_arguments(build, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        build()
    for word in words:
        assert word in str(caught.value)
