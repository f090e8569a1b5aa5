"""Attention in keras.applications, place by place: for docs/insert.md.

Every model of the table is built, trained for one step, saved, reloaded and compared, which takes
half an hour on two cores.
"""

import math
import tempfile

import keras
import numpy as np
from attn_core import catalog, insert_attention
from attn_core._tools.places import PLACES, trace

from scripts.tables.markdown import table

APPLICATIONS = (
    *("ResNet50", "ResNet50V2", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0"),
    *("DenseNet121", "ConvNeXtTiny", "VGG16"),
)
MECHANISMS = {
    "se": {},
    "cbam": {},
    "eca": {},
    "coordinate": {},
    "sge": {"groups": 8},
    "shuffle": {"groups": 8},
    "outlook": {},
}
"""The mechanisms of the table, and their arguments: groups that divide more widths than 64 does."""


def application(name: str, size: int = 64) -> keras.Model:
    """Return one of `keras.applications` for small images, without pretrained weights."""
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(size, size, 3), include_top=False, pooling="avg")
    return keras.Model(model.input, keras.layers.Dense(10, name="logits")(model.output), name=name)


def trainable_parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def check(model: keras.Model) -> None:
    """Train for one step, save, reload, compare."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(2, *model.input_shape[1:])).astype("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(1e-4), loss, run_eagerly=keras.config.backend() == "tensorflow"
    )
    assert np.isfinite(model.train_on_batch(x, np.array([1, 2])))
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        reloaded = keras.saving.load_model(f"{folder}/model.keras", compile=False)
    expected = model.predict_on_batch(x)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(reloaded.predict_on_batch(x), expected, rtol=1e-5, atol=1e-5)


def text() -> str:
    """Return the table in Markdown: trainable parameters that each insertion adds."""
    names = [catalog.get(key).name for key in MECHANISMS]
    rows = []
    for name in APPLICATIONS:
        keras.utils.clear_session()
        model = application(name)
        before = trainable_parameters(model)
        calls = trace(model)
        for place, find in PLACES.items():
            if found := find(calls):
                added = (added_parameters(model, before, place, key, found) for key in MECHANISMS)
                rows.append([name, place, len(found), *added])
                print(*rows[-1], sep=" | ", flush=True)
    return table(["Model", "Place", "Layers", *names], rows, numbers=1 + len(names))


def added_parameters(model: keras.Model, before: int, place: str, key: str, found: list) -> str:
    """Return how many parameters a mechanism adds, "" where its groups do not divide a width."""
    config = MECHANISMS[key]
    divisor = config.get("groups", 1) * (2 if key == "shuffle" else 1)
    if any(call.shape[-1] % divisor for call in found):
        return ""
    inserted = insert_attention(model, key, place, **config)
    check(inserted)
    return f"{trainable_parameters(inserted) - before:,}"
