"""The networks: the authors' numbers, the authors' number of parameters, files, errors."""

import keras
import numpy as np
import pytest
from attn_core import load_torch_weights, models
from gradients import value_and_gradients
from reference import MODEL_VECTORS, read

TINY = {
    "CoAtNet": {"embed_dim": (8, 8, 16, 16), "depths": 1, "stem_width": 8, "key_dim": 8},
    "GFNet": {"embed_dim": 16, "depths": 2, "patch_size": 8},
}


@pytest.mark.parametrize("path", MODEL_VECTORS, ids=lambda path: path.stem)
def test_output_and_gradient(path, record_error):
    meta, arrays = read(path)
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["config"].items()}
    model = getattr(models, meta["layer"])(**config)
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


@pytest.mark.parametrize(
    ("build", "trainable"),
    [
        # The authors' own networks, built from their code: the contract of the project.
        (lambda: models.GFNet.from_variant("gfnet_ti"), 7_511_784),
        (lambda: models.CoAtNet.from_variant("coatnet_0"), 25_036_820),
    ],
    ids=["GFNet-Ti", "CoAtNet-0"],
)
def test_number_of_trainable_parameters(build, trainable):
    assert sum(int(np.prod(weight.shape)) for weight in build().trainable_weights) == trainable


@pytest.mark.parametrize("name", models.__all__)
def test_file_and_config(name, tmp_path):
    model = getattr(models, name)(**TINY[name], image_size=32, num_classes=3, drop_path=0.1)
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(reloaded) is type(model)
    assert reloaded.get_config() == model.get_config()
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(reloaded(x)), expected, atol=1e-6)
    features = getattr(models, name)(**TINY[name], image_size=32, include_top=False)
    assert len(features.output_shape) == 4


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
