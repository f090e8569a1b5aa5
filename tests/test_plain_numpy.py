"""The mechanisms in plain NumPy, docs/numpy/: each computes what its layer computes."""

import ast
import inspect

import keras
import numpy as np
import pytest
from attn_core import catalog
from attn_core.catalog import MECHANISMS

from scripts.site import mechanism_pages, plain_numpy

LINES = 34
"""The most lines of code of a mechanism."""
OPTIONS = {
    "cross-former": {"interval": 2},
    "differential": {"depth": 4},
    "dot-product": {"num_heads": 4},
    "halo": {"block_size": 2, "halo_size": 1},
    "mobilevit": {"patch_size": 7},
    "muse": {"kernel_sizes": (1, 5)},
    "neighborhood": {"kernel_size": 3},
    "outlook": {"kernel_size": 5},
    "residual": {"lam": 0.5},
    "shuffle": {"groups": 4},
    "window": {"shift_size": 3},
}
"""Arguments other than the example's, by mechanism."""
each = pytest.mark.parametrize("mechanism", plain_numpy.written(), ids=lambda one: one.key)


def test_mechanisms_have_their_files():
    """That of a new mechanism may follow; the first 55 have theirs."""
    files = {path for path in plain_numpy.FOLDER.glob("*.py") if path != plain_numpy.HELPERS}
    assert files <= {plain_numpy.file(one.key) for one in MECHANISMS}
    assert {one.number for one in plain_numpy.written()} >= set(range(1, 56))


@each
def test_difference_from_the_layer(mechanism):
    size, largest = mechanism_pages.difference(mechanism.key)
    assert 0.01 < largest < 100
    assert size < 1e-5 * largest


@pytest.mark.parametrize("key", OPTIONS)
def test_difference_with_other_arguments(key):
    name, options = catalog.get(key).principal, OPTIONS[key]
    config = mechanism_pages.new(name).get_config() | options
    layer = mechanism_pages.layer_class(name).from_config(config)
    shape = mechanism_pages.input_shape(name)
    size, largest = plain_numpy.difference(layer, shape, key, **options)
    assert size < 1e-5 * largest


@each
def test_it_uses_every_weight(mechanism):
    read = set()

    class Weights(dict):
        def __getitem__(self, name):
            read.add(name)
            return super().__getitem__(name)

        def get(self, name, default=None):
            read.update({name} & set(self))
            return super().get(name, default)

    layer = mechanism_pages.new(mechanism.principal)
    shape = (1, *mechanism_pages.input_shape(mechanism.principal))
    layer.build(shape)
    weights = Weights(plain_numpy.arrays(layer))
    plain_numpy.function(mechanism.key)(np.ones(shape), weights)
    assert read == set(weights)


@pytest.mark.thorough
@each
def test_every_weight_changes_the_output(mechanism):
    """At the weights and the input of the comparison, a fault in the use of one would show."""
    name = mechanism.principal
    layer, x = mechanism_pages.new(name), plain_numpy.inputs(mechanism_pages.input_shape(name))
    layer.build(x.shape)
    plain_numpy.move(layer)
    weights, compute = plain_numpy.arrays(layer), plain_numpy.function(mechanism.key)
    x = x[:1].astype("float64")
    output = compute(x, weights)
    for path, weight in weights.items():
        noise = np.random.default_rng(1).standard_normal(weight.shape)
        changed = np.abs(compute(x, weights | {path: weight + 0.1 * noise}) - output).max()
        blind = path.endswith(catalog.LAYERS[name].no_gradient)
        assert blind or changed > 1e-4 * np.abs(output).max(), path


@each
def test_it_stands_by_itself(mechanism):
    """It imports NumPy and the helpers alone, and is short."""
    tree = ast.parse(plain_numpy.file(mechanism.key).read_text())
    imports = [one for one in ast.walk(tree) if isinstance(one, ast.Import | ast.ImportFrom)]
    modules = {getattr(one, "module", None) or one.names[0].name for one in imports}
    assert modules <= {"numpy", plain_numpy.HELPERS.stem}
    assert plain_numpy.lines(mechanism.key) <= LINES


@each
def test_defaults_are_those_of_the_example(mechanism):
    config = mechanism_pages.new(mechanism.principal).get_config()
    parameters = inspect.signature(plain_numpy.function(mechanism.key)).parameters
    assert list(parameters)[:2] == ["x", "w"]
    defaults = {name: one.default for name, one in list(parameters.items())[2:]}
    assert defaults == {name: config[name] for name in defaults}


def test_a_fault_shows(monkeypatch):
    layer, shape = mechanism_pages.new("SEAttention"), mechanism_pages.input_shape("SEAttention")
    right = plain_numpy.function("se")
    monkeypatch.setattr(plain_numpy, "function", lambda key: lambda x, w: 1.001 * right(x, w))
    size, largest = plain_numpy.difference(layer, shape, "se")
    assert size > 1e-4 * largest
    monkeypatch.setattr(plain_numpy, "function", lambda key: lambda x, w: np.zeros(3))
    with pytest.raises(ValueError, match=r"se: NumPy gives \(3,\), the layer \(2, 14, 14, 256\)"):
        plain_numpy.difference(mechanism_pages.new("SEAttention"), shape, "se")


def test_weights_are_drawn_alike():
    """The difference on a page is the same in each build."""
    drawn = []
    for _ in range(2):
        layer = mechanism_pages.new("WindowAttention")
        layer.build((None, 14, 14, 256))
        plain_numpy.move(layer)
        drawn.append([keras.ops.convert_to_numpy(weight) for weight in layer.weights])
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, other)


def test_lines_of_code():
    assert plain_numpy.lines("se") == 5


def test_section():
    text = plain_numpy.section(catalog.get("cbam"), (2.4e-7, 8.21))
    assert '=== "cbam.py"' in text
    assert "    def cbam(x, w):" in text
    assert "    def batch_norm(x, w, name):" in text
    assert "    def pad(" in text  # which conv calls
    assert "def layer_norm" not in text
    assert "is **2e-07**, where the output reaches 8.2" in text
