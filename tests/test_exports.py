"""The table of exports holds whole rows; what it says of SavedModels holds here too."""

import json
import re

import keras
import pytest
from attn_core import catalog

from scripts.checks import exports

TABLE = json.loads(exports.TABLE.read_text())
CASES = exports.first_cases()
WORKING = {
    backend: {
        cell["layer"]: cell["dynamic"]
        for cell in TABLE["cells"]
        if (cell["backend"], cell["format"], cell["works"]) == (backend, "saved_model", True)
        if cell["layer"] in catalog.LAYERS
    }
    for backend in ("jax", "tensorflow")
}
"""The layers that a backend exports to a SavedModel, and what is dynamic there."""
ONNX = {c["layer"]: c for c in TABLE["cells"] if (c["backend"], c["format"]) == ("jax", "onnx")}


def cell_id(cell) -> str:
    return "-".join(cell[name] for name in ("layer", "backend", "format"))


def test_every_format_of_each_measured_layer():
    """One may be missing until a session of `nox -s exports` has measured it, with all formats."""
    measured = {(cell["layer"], cell["backend"]) for cell in TABLE["cells"]}
    assert {layer for layer, _ in measured} <= set(CASES)
    wanted = [
        (layer, backend, format)
        for layer in CASES
        for backend, formats in exports.FORMATS.items()
        if (layer, backend) in measured
        for format in formats
    ]
    assert [(c["layer"], c["backend"], c["format"]) for c in TABLE["cells"]] == wanted
    assert measured


def test_nineteen_in_twenty_work():
    works = [cell["works"] for cell in TABLE["cells"]]
    assert sum(works) >= 0.95 * len(works)


@pytest.mark.parametrize("cell", TABLE["cells"], ids=cell_id)
def test_what_fails_has_a_reason(cell):
    """As much as possible is dynamic, and a reason is given where it is not, or nothing works."""
    most, *fewer = exports.variants(CASES[cell["layer"]])
    assert cell["dynamic"] in [most, *fewer]
    if cell["works"]:
        assert 0 <= cell["difference"] <= exports.BOUND
        assert bool(cell["why"]) == (cell["dynamic"] != most)
    else:
        assert cell["difference"] is None
        assert all(f"{dynamic}: " in cell["why"] for dynamic in [most, *fewer])
    assert not re.search(r"(^|[\s'\"(])/\w", cell["why"]), "a path"


@pytest.mark.parametrize("layer", ["CBAM", "ScaledDotProductAttention", "MBConv"])
def test_models_to_export(layer):
    """Each kind of open sizes gives a model of the layer alone that takes the shapes to compare."""
    for dynamic, shapes in exports.variants(CASES[layer]).items():
        model = exports.build(CASES[layer], dynamic)
        for shape in shapes:
            assert model(CASES[layer].draw(shape)).shape[0] == shape[0]


@pytest.mark.every_backend
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="SavedModels are TensorFlow's")
@pytest.mark.parametrize("layer", ["CBAM", "HaloAttention", "ScaledDotProductAttention"])
def test_saved_model_with_dynamic_sizes(layer):
    for dynamic in exports.variants(CASES[layer]):
        difference, why = exports.attempt(layer, "saved_model", dynamic)
        assert why == ""
        assert difference <= exports.BOUND


def of_unknown_size(layer, backend):
    """Return a layer, built, and its input's size after the batch: None is what may be dynamic."""
    case = CASES[layer]
    fixed = WORKING[backend][layer] == "batch"
    size = case.shape[1:] if fixed else (*[None] * len(case.other), case.shape[-1])
    built = case.make(**({"data_format": "channels_last"} if case.is_image else {}))
    built.build((None, *size))
    return built, size


def operations(jaxpr):
    """Yield all operations of a trace, with those inside of others."""
    from jax.extend.core import jaxprs_in_params

    for operation in jaxpr.eqns:
        yield operation
        for inner in jaxprs_in_params(operation.params):
            yield from operations(inner)


@pytest.mark.every_backend
@pytest.mark.skipif(keras.config.backend() != "jax", reason="JAX traces lengths as symbols")
@pytest.mark.parametrize("layer", WORKING["jax"])
def test_trace_for_exporters(layer):
    """What the table says to be dynamic is a symbol; there is nothing that a converter refuses.

    jax2onnx knows no operation of ours, TensorFlow reads StableHLO alone. jax2onnx joins axes of
    unknown lengths, but does not cut them again.
    """
    import jax

    built, size = of_unknown_size(layer, "jax")
    symbols = ("b", *(n or "hw"[axis] for axis, n in enumerate(size)))
    shape = jax.export.symbolic_shape(", ".join(map(str, symbols)))
    given = jax.ShapeDtypeStruct(shape, "float32")
    trace = jax.jit(lambda x: built(x))
    cell = ONNX[layer]
    converted = cell["works"] and cell["dynamic"] == WORKING["jax"][layer]
    for operation in operations(trace.trace(given).jaxpr.jaxpr):
        assert not operation.primitive.name.startswith("attn_core")
        if operation.primitive.name == "reshape" and converted:
            before, after = operation.invars[0].aval.shape, operation.params["new_sizes"]
            joined = {str(n) for n in before if re.search("[bhw].*[bhw]", str(n))}
            assert joined <= set(map(str, after))
    lowered = jax.export.export(trace)(given).mlir_module()
    assert set(re.findall(r'= "?([a-z_]+)\.[a-z_]+', lowered)) == {"stablehlo"}
    assert "stablehlo.composite" not in lowered
    assert set(re.findall(r"custom_call @(\w+)", lowered)) <= {"shape_assertion"}


@pytest.mark.every_backend
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's operations")
@pytest.mark.parametrize("layer", WORKING["tensorflow"])
def test_graph_for_converters(layer):
    """Nothing that a converter lacks: tf2onnx has no erfc, LiteRT cannot roll."""
    import tensorflow as tf

    built, size = of_unknown_size(layer, "tensorflow")
    given = tf.TensorSpec((None, *size), "float32")
    graph = tf.function(lambda x: built(x)).get_concrete_function(given).graph.as_graph_def()
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    kinds = {node.op for node in nodes}
    assert not kinds & {"Erfc", "Roll", "FFT2D", "IFFT2D", "RFFT2D", "IRFFT2D", "XlaCallModule"}
