"""The mechanisms in plain NumPy, docs/numpy/: what a page shows, and the difference from the layer.

Each file there holds one function of an input and of the weights by name. It is written for
readers, from the formula of the page, and computes the page's example.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import keras
import numpy as np
from attn_core.catalog import MECHANISMS, Mechanism

FOLDER = Path(__file__).parents[2] / "docs" / "numpy"
HELPERS = FOLDER / "numpy_layers.py"
BATCH = 2


def file(key: str) -> Path:
    """Return the file of a mechanism."""
    return FOLDER / f"{key.replace('-', '_')}.py"


def written() -> list[Mechanism]:
    """Return the mechanisms that have a file: that of a new one may follow later."""
    return [one for one in MECHANISMS if file(one.key).exists()]


def function(key: str) -> Callable[..., np.ndarray]:
    """Return the function of a mechanism, which has the name of its file."""
    path = file(key)
    spec = spec_from_file_location(f"numpy_{path.stem}", path)
    module = module_from_spec(spec)
    sys.path.insert(0, str(FOLDER))  # for the helpers
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return getattr(module, path.stem)


def lines(key: str) -> int:
    """Return how many lines of code a mechanism has, without imports, comments and blank lines."""
    code = file(key).read_text()
    body = [one for one in ast.parse(code).body if isinstance(one, ast.FunctionDef)]
    within = (line for one in body for line in ast.get_source_segment(code, one).splitlines())
    return sum(not line.lstrip().startswith(("#", '"""')) for line in within if line.strip())


def move(layer: keras.layers.Layer) -> None:
    """Draw each weight, around its start: where one is 0 or 1, a fault in its use may not show."""
    rng = np.random.default_rng(11)
    for weight in layer.weights:
        name = weight.path.rpartition("/")[2]
        noise = rng.standard_normal(weight.shape)
        start = keras.ops.convert_to_numpy(weight)
        if name == "kernel":  # by the number of its inputs, so that outputs keep their size
            weight.assign(noise / (2 * np.sqrt(max(1, np.prod(weight.shape[:-1])))))
        elif "variance" in name:
            weight.assign(np.exp(0.3 * noise))
        else:
            weight.assign(0.3 * noise + (start if start.std() == 0 else 0))


def inputs(shape: tuple[int, ...]) -> np.ndarray:
    """Return random input in float32, where each channel of a sample has a mean of its own."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((BATCH, *[1] * (len(shape) - 1), shape[-1]))
    return (means + rng.standard_normal((BATCH, *shape))).astype("float32")


def arrays(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """Return the weights of a layer in float64, by the names that its page has for them."""
    return {
        weight.path.partition("/")[2]: keras.ops.convert_to_numpy(weight).astype("float64")
        for weight in layer.weights
    }


def difference(
    layer: keras.layers.Layer, shape: tuple[int, ...], key: str, **options: object
) -> tuple[float, float]:
    """Return the largest difference of a mechanism in NumPy from its layer, and the largest output.

    NumPy computes in float64, the layer in float32. The weights of the layer are drawn anew.

    Args:
        layer: A layer of the mechanism.
        shape: The shape of one sample of its input.
        key: The key of the mechanism.
        **options: Arguments of the function where they are not those of the example.

    Raises:
        ValueError: If the two outputs differ in shape.
    """
    x = inputs(shape)
    layer.build(x.shape)
    move(layer)
    expected = keras.ops.convert_to_numpy(layer(x)).astype("float64")
    output = function(key)(x.astype("float64"), arrays(layer), **options)
    if output.shape != expected.shape:
        raise ValueError(f"{key}: NumPy gives {output.shape}, the layer {expected.shape}")
    return float(np.abs(output - expected).max()), float(np.abs(expected).max())


def imported(key: str) -> str:
    """Return the source of the helpers that a mechanism imports, and of those that these call."""
    text = HELPERS.read_text()
    tree = ast.parse(text)
    known = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}

    def names(part: ast.AST) -> Iterator[str]:
        for node in ast.walk(part):
            if isinstance(node, ast.Name) and node.id in known:
                yield node.id
                yield from names(known[node.id])

    used = set(names(ast.parse(file(key).read_text())))
    return "\n\n\n".join(
        ast.get_source_segment(text, one) for name, one in known.items() if name in used
    )


def section(mechanism: Mechanism, found: tuple[float, float]) -> str:
    """Return the section of a page: the code, its helpers, and the difference found."""
    path, (size, largest) = file(mechanism.key), found
    text = (
        "The formula once more, written by hand in NumPy for the input of the example. `w` holds "
        "the weights by the names in [their table](#weights)."
    )
    tabs = {path.name: path.read_text()}
    if helpers := imported(mechanism.key):
        text += f" The second tab shows what is imported from `{HELPERS.name}`."
        tabs[HELPERS.name] = helpers
    measured = (
        f"The largest difference from the layer is **{size:.0e}**, where the output reaches "
        f"{largest:.2g}: `{mechanism.principal}` in float32, with random weights and input. "
        f"Files: [{path.name}](../numpy/{path.name}), [{HELPERS.name}](../numpy/{HELPERS.name})."
    )
    return "\n\n".join([text, *(_tab(title, code) for title, code in tabs.items()), measured])


def _tab(title: str, code: str) -> str:
    lines = f"```python\n{code.strip()}\n```".splitlines()
    return "\n".join([f'=== "{title}"', "", *(f"    {line}".rstrip() for line in lines)])
