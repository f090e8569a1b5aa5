"""Train each mechanism that has a map for some seconds, and draw what it then weighs.

python scripts/page_maps.py             what has changed, into build/maps/
python scripts/page_maps.py se cbam     these alone
"""

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
from attn_core import layers
from attn_core.catalog import MECHANISMS, Mechanism
from attn_core.cli.demo import OPTIONS
from attn_core.layers.base import ImageLayer
from attn_core.tools import pictures
from attn_core.tools.drawings import Drawing, describe
from attn_core.tools.maps import record
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image

FOLDER = Path(__file__).parents[1] / "build" / "maps"
PHOTOGRAPHS = ("china", "flower")
WHOLE = (128, 192)
"""Pixels of a photograph, of which the network learns pieces."""
HEIGHT, WIDTH = 48, 72
"""Pixels of what it sees: a piece, or a whole photograph made smaller."""
SEEN = 120
"""The pieces to learn from lie left of this column, those to test on right of it."""
STEPS, BATCH = 100, 32
QUERY = {"china": (30, 24), "flower": (24, 36)}
"""The pixel whose attention is drawn: on the pagoda, and on the flower."""
PANELS = 4
"""Most heads, or slots of a memory, that are drawn."""
LIMIT = 60_000
"""Bytes of a picture."""
OWN = OPTIONS | {
    "halo": {"block_size": 6, "halo_size": 2, "num_heads": 2},
    "residual": {"num_classes": 2},
}
"""By mechanism: arguments for 32 channels."""
CHANNELS_LAST = {"data_format": "channels_last"}


def mechanisms() -> Iterator[Mechanism]:
    """Yield the mechanisms whose principal layer returns a map."""
    for mechanism in MECHANISMS:
        if hasattr(getattr(layers, mechanism.layers[0]), "compute_attention_shape"):
            yield mechanism


def main(keys: list[str]) -> None:
    """Draw the maps that are missing or older than what they were drawn with."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for mechanism in mechanisms():
        if keys and mechanism.key not in keys:
            continue
        about, version = FOLDER / f"{mechanism.key}.json", fingerprint(mechanism)
        if about.exists() and json.loads(about.read_text())["version"] == version:
            continue
        picture, facts = drawn(mechanism)
        (FOLDER / f"{mechanism.key}.png").write_bytes(picture)
        about.write_text(json.dumps({"version": version, **facts}))
        print(f"{mechanism.key}: {facts['accuracy']:.1%}, {len(picture) // 1024} kB", flush=True)


def fingerprint(mechanism: Mechanism) -> str:
    """Return a hash of what a picture depends on."""
    cls = getattr(layers, mechanism.layers[0])
    sources = [Path(inspect.getfile(one)).read_text() for one in (cls, pictures, describe)]
    sources += [Path(__file__).read_text(), repr(OWN.get(mechanism.key)), keras.__version__]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]


@cache
def photographs() -> dict[str, np.ndarray]:
    """Return the photographs that come with scikit-learn, values from 0 to 1."""
    images = {name: load_sample_image(f"{name}.jpg") for name in PHOTOGRAPHS}
    return {name: resized(image.astype("float32") / 255, WHOLE) for name, image in images.items()}


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an image of another size."""
    new = keras.ops.image.resize(image, size, antialias=True, **CHANNELS_LAST)
    return np.clip(keras.ops.convert_to_numpy(new), 0, 1)


@cache
def pieces() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pieces to learn from and pieces to test on, and which photograph each is of."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, STEPS * BATCH)
    tops = rng.integers(0, WHOLE[0] - HEIGHT + 1, len(labels))
    lefts = rng.integers(0, SEEN - WIDTH + 1, len(labels))
    places = zip(labels, tops, lefts, strict=True)
    train = np.stack([_piece(*place)[:, :: rng.choice((-1, 1))] for place in places])
    train += rng.normal(0, 0.05, (len(train), 1, 1, 3)).astype("float32")
    unseen = [(label, top, SEEN) for label in (0, 1) for top in range(WHOLE[0] - HEIGHT + 1)]
    test = np.stack([_piece(*place) for place in unseen])
    return train, labels, test, np.array([label for label, _, _ in unseen])


def _piece(label: int, top: int, left: int) -> np.ndarray:
    return photographs()[PHOTOGRAPHS[label]][top : top + HEIGHT, left : left + WIDTH]


def network(mechanism: Mechanism) -> keras.Model:
    """Return two convolutions, the mechanism, and a classifier."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((HEIGHT, WIDTH, 3))
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, 2, "same", use_bias=False, **CHANNELS_LAST)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    cls = getattr(layers, mechanism.layers[0])
    options = {"name": mechanism.key, **OWN.get(mechanism.key, {})}
    if mechanism.family == "heads":
        return keras.Model(inputs, cls(**options, **CHANNELS_LAST)(x))
    if issubclass(cls, ImageLayer):
        y = cls(**options, **CHANNELS_LAST)(x)
    else:
        _, height, width, channels = x.shape
        y = cls(**options)(keras.layers.Reshape((height * width, channels))(x))
        y = keras.layers.Reshape((height, width, channels))(y)
    if mechanism.family not in ("gates", "branches"):
        y = x + y
    y = keras.layers.GlobalAveragePooling2D(**CHANNELS_LAST)(y)
    return keras.Model(inputs, keras.layers.Dense(2)(y))


def drawn(mechanism: Mechanism) -> tuple[bytes, dict]:
    """Train, and return the picture and the facts of its caption."""
    x_train, y_train, x_test, y_test = pieces()
    model = network(mechanism)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, batch_size=len(x_test), verbose=0)

    rows = [row for name in PHOTOGRAPHS for row in weighed(model, name)]
    facts = {
        "accuracy": accuracy,
        "tested": len(y_test),
        "steps": STEPS,
        "parameters": model.count_params(),
        "what": list(dict.fromkeys(title(drawing) for _, drawing in rows)),
    }
    return compressed(figure_of(rows)), facts


def weighed(model: keras.Model, name: str) -> list[tuple[np.ndarray, Drawing]]:
    """Return a photograph and how each map of the model is drawn for it."""
    image = resized(photographs()[name], (HEIGHT, WIDTH))
    ((_, one),) = record(model, image[None]).items()
    rows = []
    for index in range(len(one.each)):
        drawing = describe(one, index, (HEIGHT, WIDTH))
        if drawing.frame:  # it is for one position
            drawing = describe(one, index, (HEIGHT, WIDTH), query=QUERY[name])
        rows.append((image, drawing))
    return rows


def title(drawing: Drawing) -> str:
    """Return what is drawn, the same for all photographs."""
    return re.sub(r" at \(\d+, \d+\)", ", framed", drawing.what)


def figure_of(rows: list[tuple[np.ndarray, Drawing]]) -> Figure:
    """Return a figure of a line for each map and photograph, the photograph first."""
    figure = Figure(figsize=(8, 1.75 * len(rows)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, (image, drawing) in zip(parts, rows, strict=True):
        part.suptitle(title(drawing), x=0.01, ha="left", fontsize=8)
        panels = dict(list(drawing.panels.items())[:PANELS])
        if drawing.kind != "image":  # then the photograph is not drawn with it
            left, part = part.subfigures(1, 2, width_ratios=(1, PANELS))
            pictures.show_image(left.add_subplot(), image)
        pictures.DRAW[drawing.kind](part, image, drawing, panels, 1 + PANELS)
    return figure


def compressed(figure: Figure) -> bytes:
    """Return a figure as a PNG of 256 colours, as large as `LIMIT` bytes allow."""
    for dpi in range(100, 50, -10):
        plain, small = BytesIO(), BytesIO()
        figure.savefig(plain, dpi=dpi)
        picture = Image.open(plain).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        picture.save(small, "png", optimize=True)
        if small.tell() <= LIMIT:
            break
    return small.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])
