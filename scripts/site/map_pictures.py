"""Train each mechanism for some seconds, draw what it looks at, and export its attention maps.

python -m scripts.site.map_pictures             what has changed, into build/maps/
python -m scripts.site.map_pictures se cbam     only these mechanisms

PyTorch needs the least time for this: it compiles nothing.
"""

import hashlib
import inspect
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
from attn_core import catalog, layers
from attn_core._tools import pictures
from attn_core._tools.adapter import call_on_image
from attn_core._tools.drawings import Drawing, Pair, cell_of, describe
from attn_core._tools.maps import record
from attn_core.catalog import LAYERS, MECHANISMS, Mechanism, Size
from attn_core.layers import ImageLayer
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image

from scripts.site import eight, map_networks

FOLDER = Path(__file__).parents[2] / "build" / "maps"
PHOTOGRAPHS = ("china", "flower")
WHOLE = (128, 192)
"""Height and width of a photograph, from which the network learns pieces."""
HEIGHT, WIDTH = 48, 72
"""Size of what it sees: a piece, or a whole photograph made smaller."""
STEPS, BATCH = 100, 16
GRID = HEIGHT // 4, WIDTH // 4
"""Rows and columns of positions at a mechanism, after two convolutions of stride 2."""
SQUARE = HEIGHT // 4, WIDTH // 6
"""The same where a mechanism takes square images alone: the second stride is 3 along the rows."""
QUERY = {"china": (30, 24), "flower": (24, 36)}
"""The pixel whose attention is drawn: on the pagoda, and on the flower."""
PANELS = 4
"""Most heads, or slots of a memory, that are drawn."""
LEARNT = 0.7
"""Least share of right answers over all steps: a network below it has not learnt its task."""
LIMIT = 60_000
"""Largest size of a picture, in bytes."""
NETWORKS = "networks"
"""The folder of the networks of maps, in `FOLDER`."""
CHANNELS_LAST = {"data_format": "channels_last"}
FEATURES = "features"
"""The name of the layer before the mechanism."""
EFFECT = "change of the framed output where a position is set to zero"
"""What is drawn of a mechanism without a map."""


def mechanisms() -> Iterator[Mechanism]:
    """Yield the mechanisms whose principal layer returns a map."""
    for mechanism in MECHANISMS:
        if getattr(layers, mechanism.principal).maps:
            yield mechanism


def grid(mechanism: Mechanism) -> Pair:
    """Return the rows and columns of positions at a mechanism."""
    return SQUARE if "H == W" in mechanism.needs else GRID


def main(keys: list[str]) -> None:
    """Make what is missing or older than what it depends on, one process a core."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    outdated = [m.key for m in MECHANISMS if m.key in (keys or m.key) and is_outdated(m)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = min(cores or 1, len(outdated))
    if processes < 2:
        for key in outdated:
            draw(key)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # in the processes to come, which share the cores
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(draw, outdated, chunksize=1)


def is_outdated(mechanism: Mechanism) -> bool:
    """Whether the picture of a mechanism is missing or older than what it depends on."""
    about = FOLDER / f"{mechanism.key}.json"
    return not about.exists() or json.loads(about.read_text())["version"] != version(mechanism)


def draw(key: str) -> None:
    """Write the picture of a mechanism, the facts of its caption, and its network of maps."""
    mechanism = catalog.get(key)
    model, accuracy = trained(mechanism)
    picture, what = drawn(model, key)
    (FOLDER / f"{key}.png").write_bytes(picture)
    write_for_home(model, key)
    facts = {
        "version": version(mechanism),
        "accuracy": accuracy,
        "steps": STEPS,
        "parameters": model.count_params(),
        "what": what,
    }
    if model.get_layer(key).maps:
        facts |= map_networks.export(model, key, (HEIGHT, WIDTH), FOLDER / NETWORKS)
    (FOLDER / f"{key}.json").write_text(json.dumps(facts))
    print(f"{key}: {accuracy:.1%}, {len(picture) // 1024} kB", flush=True)


def write_for_home(model: keras.Model, key: str) -> None:
    """Write the pictures of a mechanism for the home page, and the photograph alone."""
    image, rows = photograph(PHOTOGRAPHS[0], eight.SIZE), drawings(model, key, PHOTOGRAPHS[0])
    found = [drawing for _, drawing in rows]
    over = [drawing for drawing in found if drawing.kind == "image"] or found
    pictures = {f"{eight.CARDS}/{key}": over[0]}
    if key in eight.EIGHT:
        chosen = found[eight.EIGHT[key][0]]
        pictures |= {
            f"{eight.PICTURES}/{key}": chosen,
            f"{eight.PICTURES}/{eight.PHOTOGRAPH}": None,
        }
    for name, drawing in pictures.items():
        path = FOLDER / f"{name}.webp"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(eight.picture(image, drawing))


def version(mechanism: Mechanism) -> str:
    """Return a hash of what a picture depends on."""
    cls = getattr(layers, mechanism.principal)
    sources = [
        Path(inspect.getfile(one)).read_text()
        for one in (cls, pictures, describe, eight, map_networks)
    ]
    sources += [Path(__file__).read_text(), repr(arguments(mechanism)), keras.__version__]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]


@cache
def photograph(name: str, size: tuple[int, int] = WHOLE) -> np.ndarray:
    """Return one of the photographs that come with scikit-learn, values from 0 to 1."""
    return resized(load_sample_image(f"{name}.jpg").astype("float32") / 255, size)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an image of another size."""
    new = keras.ops.image.resize(image, size, antialias=True, **CHANNELS_LAST)
    return np.clip(keras.ops.convert_to_numpy(new), 0, 1)


@cache
def pieces() -> tuple[np.ndarray, np.ndarray]:
    """Return pieces to learn from, and which photograph each is of."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, STEPS * BATCH)
    tops = rng.integers(0, WHOLE[0] - HEIGHT + 1, len(labels))
    lefts = rng.integers(0, WHOLE[1] - WIDTH + 1, len(labels))
    places = zip(labels, tops, lefts, strict=True)
    images = np.stack([_piece(*place)[:, :: rng.choice((-1, 1))] for place in places])
    images += rng.normal(0, 0.05, (len(images), 1, 1, 3)).astype("float32")
    return images, labels


def _piece(label: int, top: int, left: int) -> np.ndarray:
    return photograph(PHOTOGRAPHS[label])[top : top + HEIGHT, left : left + WIDTH]


def arguments(mechanism: Mechanism) -> dict:
    """Return the arguments of a mechanism in the network."""
    required = LAYERS[mechanism.principal].required(Size(*grid(mechanism), 32))
    classes = {"num_classes": 2} if mechanism.family == "heads" else {}
    return {**mechanism.small, **required, **classes}


def network(mechanism: Mechanism) -> keras.Model:
    """Return two convolutions, the mechanism, and a classifier."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((HEIGHT, WIDTH, 3))
    rows, columns = grid(mechanism)
    last = (HEIGHT // 2 // rows, WIDTH // 2 // columns)
    for filters, strides, name in ((16, 2, None), (32, last, FEATURES)):
        x = keras.layers.Conv2D(filters, 3, strides, "same", use_bias=False, **CHANNELS_LAST)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU(name=name)(x)
    cls = getattr(layers, mechanism.principal)
    options = {"name": mechanism.key, **arguments(mechanism)}
    if mechanism.family == "heads":
        return keras.Model(inputs, cls(**options, **CHANNELS_LAST)(x))
    image = CHANNELS_LAST if issubclass(cls, ImageLayer) else {}
    y = call_on_image(cls(**options, **image), x)
    if mechanism.family not in ("gates", "branches"):
        y = x + y
    y = keras.layers.GlobalAveragePooling2D(**CHANNELS_LAST)(y)
    return keras.Model(inputs, keras.layers.Dense(2)(y))


def trained(mechanism: Mechanism) -> tuple[keras.Model, float]:
    """Return a trained network, and the share of its right answers over all steps."""
    images, labels = pieces()
    model = network(mechanism)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    history = model.fit(images, labels, batch_size=BATCH, shuffle=False, verbose=0).history
    accuracy = history["accuracy"][-1]  # over all steps, those of the beginning included
    if accuracy < LEARNT:
        raise RuntimeError(f"{mechanism.key} is right in {accuracy:.1%} of its steps only")
    return model, accuracy


def drawn(model: keras.Model, key: str) -> tuple[bytes, list[str]]:
    """Return the picture of what a trained network looks at, and what it shows."""
    rows = [row for name in PHOTOGRAPHS for row in drawings(model, key, name)]
    what = [map_networks.title(drawing.what) for _, drawing in rows]
    return compressed(figure_of(rows)), list(dict.fromkeys(what))


def drawings(model: keras.Model, key: str, name: str) -> list[tuple[np.ndarray, Drawing]]:
    """Return a photograph and how each map of the model, or an effect, is drawn for it."""
    image = resized(photograph(name), (HEIGHT, WIDTH))
    if not model.get_layer(key).maps:
        return [(image, effect(model, key, image, QUERY[name]))]
    ((_, one),) = record(model, image[None]).items()
    rows = []
    for index in range(len(one.each)):
        drawing = describe(one, index, (HEIGHT, WIDTH))
        if drawing.frame:  # the map of one query
            drawing = describe(one, index, (HEIGHT, WIDTH), query=QUERY[name])
        rows.append((image, drawing))
    return rows


def effect(model: keras.Model, key: str, image: np.ndarray, query: Pair) -> Drawing:
    """Draw how much the mechanism's output at a pixel depends on each position of its input.

    One position after the other is set to zero. What is drawn is the length of the change of the
    output, relative to the length of the output. The position of the pixel itself is left out.
    """
    layer, features = model.get_layer(key), model.get_layer(FEATURES).output
    output = layer.output
    if len(output.shape) == 3:  # tokens
        output = keras.layers.Reshape((*features.shape[1:3], -1))(output)
    x = keras.Model(model.input, features).predict(image[None], verbose=0)
    rows, columns = x.shape[1:3]
    places = np.arange(rows * columns)
    erased = np.repeat(x.reshape(1, len(places), -1), 1 + len(places), axis=0)
    erased[1 + places, places] = 0
    erased = erased.reshape(-1, *x.shape[1:])
    row, column = cell_of(query, image.shape[:2], (rows, columns))
    y = keras.Model(features, output).predict(erased, verbose=0)[:, row, column]
    change = np.linalg.norm(y[1:] - y[0], axis=-1) / np.linalg.norm(y[0])
    change = change.reshape(rows, columns)
    change[row, column] = np.nan
    return Drawing("image", EFFECT, {"": change}, frame=((row, column), (rows, columns)))


def figure_of(rows: list[tuple[np.ndarray, Drawing]]) -> Figure:
    """Return a figure of each map and photograph, a line for each, or two in a line if small."""
    single = all(one.kind == "image" and len(one.panels) == 1 for _, one in rows)
    across, columns = (2, 2) if single else (1, 1 + PANELS)
    lines = -(-len(rows) // across)
    figure = Figure(figsize=(8, 1.75 * lines), layout="constrained")
    parts = figure.subfigures(lines, across, squeeze=False).ravel()[: len(rows)]
    for part, (image, drawing) in zip(parts, rows, strict=True):
        part.suptitle(map_networks.title(drawing.what), x=0.01, ha="left", fontsize=8)
        panels = dict(list(drawing.panels.items())[:PANELS])
        if drawing.kind != "image":  # which does not show the photograph
            left, part = part.subfigures(1, 2, width_ratios=(1, PANELS))
            pictures.show_image(left.add_subplot(), image)
        pictures.DRAW[drawing.kind](part, image, drawing, panels, columns)
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
