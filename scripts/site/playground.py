"""What the playground loads, and what its page says of sizes and times."""

import gzip
import json
import shutil
from functools import cache
from pathlib import Path

from attn_core.catalog import MECHANISMS
from matplotlib import cbook
from PIL import Image
from sklearn.datasets import load_sample_images

from scripts.site import map_pictures
from scripts.site.browser_libraries import LIBRARIES
from scripts.tables.markdown import table

DISPLAY = 8 * map_pictures.HEIGHT, 8 * map_pictures.WIDTH
"""Height and width of a photograph on the page: a block for each pixel of the networks' input."""
PHOTOGRAPHS = {
    "china": "Pavilion in China",
    "flower": "Flower",
    "portrait": "Portrait of Grace Hopper",
}
TIMES = Path(__file__).parents[2] / "docs" / "data" / "playground.json"
(RUNTIME,) = (one for one in LIBRARIES if one.short == "onnxruntime-web")


@cache
def photographs() -> dict[str, Image.Image]:
    """Return the photographs, which come with scikit-learn and Matplotlib, in one size."""
    samples = load_sample_images()
    names = [Path(name).stem for name in samples.filenames]
    images = {name: Image.fromarray(one) for name, one in zip(names, samples.images, strict=True)}
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as portrait:
        images["portrait"] = portrait.crop((0, 20, portrait.width, 20 + portrait.width * 2 // 3))
    height, width = DISPLAY
    lanczos = Image.Resampling.LANCZOS
    return {name: images[name].resize((width, height), lanczos) for name in PHOTOGRAPHS}


def facts() -> dict[str, dict]:
    """Return what is known of the maps of each mechanism that has one."""
    files = {one.key: map_pictures.FOLDER / f"{one.key}.json" for one in MECHANISMS}
    known = {key: json.loads(file.read_text()) for key, file in files.items() if file.exists()}
    return {key: one for key, one in known.items() if "views" in one}


def sizes() -> dict[str, int]:
    """Return the bytes of each network."""
    folder = map_pictures.FOLDER / map_pictures.NETWORKS
    return {key: (folder / f"{key}.onnx").stat().st_size for key in facts()}


def write(folder: Path) -> None:
    """Write the photographs, the networks and what the page must know of them."""
    folder.mkdir(parents=True)
    for name, image in photographs().items():
        image.save(folder / f"{name}.webp", quality=85)
    shutil.copytree(map_pictures.FOLDER / map_pictures.NETWORKS, folder / "networks")
    known, names = facts(), {one.key: one.name for one in MECHANISMS}
    about = {
        "size": [map_pictures.HEIGHT, map_pictures.WIDTH],
        "grid": map_pictures.GRID,
        "display": DISPLAY,
        "photographs": [{"name": name, "title": title} for name, title in PHOTOGRAPHS.items()],
        "runtime": RUNTIME.size,
        "mechanisms": [
            {"key": key, "name": names[key], "bytes": size, "views": known[key]["views"]}
            for key, size in sizes().items()
        ],
    }
    (folder / "index.json").write_text(json.dumps(about))
    expected = {key: one["expected"] for key, one in known.items()}
    (folder / "expected.json").write_text(json.dumps(expected))  # a test in a browser reads it


def section() -> str:
    """Return the sizes of what is loaded, and the times that were measured, in Markdown."""
    networks = sorted(sizes().values())
    compressed = sum(len(gzip.compress(path.read_bytes())) for path in RUNTIME.kept.values())
    rows = [
        [
            f"{RUNTIME.name} {RUNTIME.version}, compressed",
            "at the start",
            f"{compressed / 1e6:.1f} MB",
        ],
        ["the same from a server that does not compress", "", f"{RUNTIME.size / 1e6:.1f} MB"],
        [
            "a network",
            "when its mechanism is chosen",
            f"{networks[0] / 1e3:.0f} to {networks[-1] / 1e3:.0f} kB",
        ],
        [f"all {len(networks)} networks", "never at once", f"{sum(networks) / 1e6:.1f} MB"],
    ]
    headings = ["What is loaded", "When", "Size"]
    return f"## Sizes and times\n\n{table(headings, rows, numbers=1)}\n\n{times()}"


def times() -> str:
    """Return the times that were measured, in two sentences."""
    if not TIMES.exists():
        return "The times have not been measured yet (`nox -s playground`)."
    known = json.loads(TIMES.read_text())
    return (
        f"In Chromium {known['chromium']} on {known['machine']}, with a server on the same "
        f"machine, the first two maps appear {known['start']:.0f} ms after the start. Another "
        f"mechanism takes {known['load']:.0f} ms to load and {known['run']:.0f} ms to run, each "
        f"the median of {known['mechanisms']} mechanisms. The slowest takes "
        f"{known['slowest']:.0f} ms for both."
    )
