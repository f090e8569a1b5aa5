"""Files saved before the catalog was rebuilt load, with the same outputs and weight paths.

tests/saved/ holds a model of each family as it was then, saved on each backend. A model applies
every layer of its family, in the first case of the catalog, to an input of its own.
"""

from pathlib import Path

import attn_core  # noqa: F401 - registers the layers
import keras
import numpy as np
import pytest

FOLDER = Path(__file__).parent / "saved"
BOUND = 1e-5
"""Largest difference, relative to one or, if that is more, to the largest output of the layer."""


def file(path: Path):
    """Return a saved model as a parameter. Each backend loads its own; PyTorch loads them all."""
    own = path.stem.endswith(f"_{keras.config.backend()}")
    return pytest.param(path, marks=[pytest.mark.every_backend] if own else [], id=path.stem)


FILES = [file(path) for path in sorted(FOLDER.glob("*.keras"))]


def expected(family: str) -> dict[str, np.ndarray]:
    """Return the outputs of a family's layers, and the paths of its weights under `paths`."""
    with np.load(FOLDER / "expected.npz") as arrays:
        return {
            name.partition("/")[2]: arrays[name]
            for name in arrays.files
            if name.startswith(f"{family}/")
        }


@pytest.mark.parametrize("path", FILES)
def test_saved_model(path):
    model = keras.saving.load_model(path)
    outputs = expected(path.stem.partition("_")[0])
    paths = [weight.path for weight in model.weights if "seed" not in weight.path]
    assert paths == outputs.pop("paths").tolist()

    inputs = {}
    for symbol in model.inputs:  # each drawn anew, as when the outputs were kept
        shape = (2, *symbol.shape[1:])
        inputs[symbol.name] = np.random.default_rng(3).standard_normal(shape).astype("float32")
    found = model.predict_on_batch(inputs)
    assert found.keys() == outputs.keys()
    for name, output in outputs.items():
        scale = max(1.0, np.abs(output).max())
        np.testing.assert_allclose(found[name] / scale, output / scale, atol=BOUND, err_msg=name)


def test_every_family_on_every_backend():
    backends = ("jax", "tensorflow", "torch")
    families = {path.stem.partition("_")[0] for path in FOLDER.glob("*.keras")}
    assert len(families) == 8
    for family in families:
        assert all((FOLDER / f"{family}_{backend}.keras").exists() for backend in backends)
