"""The table of exports holds whole rows; what it says of SavedModels holds here too."""

import json
import re

import keras
import pytest
from attn_core import catalog

from scripts.checks import exports

TABLE = json.loads(exports.TABLE.read_text())
CASES = exports.first_cases()
JAX_LAYERS = {
    cell["layer"]: cell["dynamic"]
    for cell in TABLE["cells"]
    if (cell["backend"], cell["format"], cell["works"]) == ("jax", "saved_model", True)
    if cell["layer"] in catalog.LAYERS
}
"""The layers that JAX exports to a SavedModel, and what is dynamic there."""
JAX_ONNX = {
    (cell["layer"], cell["dynamic"])
    for cell in TABLE["cells"]
    if (cell["backend"], cell["format"], cell["works"]) == ("jax", "onnx", True)
}


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


def operations(jaxpr):
    """Yield all operations of a trace, with those inside of others."""
    from jax.extend.core import jaxprs_in_params

    for operation in jaxpr.eqns:
        yield operation
        for inner in jaxprs_in_params(operation.params):
            yield from operations(inner)


@pytest.mark.every_backend
@pytest.mark.skipif(keras.config.backend() != "jax", reason="JAX traces lengths as symbols")
@pytest.mark.parametrize("layer", JAX_LAYERS)
def test_trace_for_exporters(layer):
    """What the table says to be dynamic is a symbol; there is nothing that a converter refuses.

    jax2onnx knows no operation of ours, TensorFlow reads StableHLO alone. jax2onnx joins axes of
    unknown lengths, but does not cut them again.
    """
    import jax

    case, dynamic = CASES[layer], JAX_LAYERS[layer]
    size = case.shape[1:] if dynamic == "batch" else (*[None] * len(case.other), case.shape[-1])
    built = case.make(**({"data_format": "channels_last"} if case.is_image else {}))
    built.build((None, *size))
    symbols = ("b", *(n or "hw"[axis] for axis, n in enumerate(size)))
    shape = jax.export.symbolic_shape(", ".join(map(str, symbols)))
    given = jax.ShapeDtypeStruct(shape, "float32")
    trace = jax.jit(lambda x: built(x))
    for operation in operations(trace.trace(given).jaxpr.jaxpr):
        assert not operation.primitive.name.startswith("attn_core")
        if operation.primitive.name == "reshape" and (layer, dynamic) in JAX_ONNX:
            before, after = operation.invars[0].aval.shape, operation.params["new_sizes"]
            joined = {str(n) for n in before if re.search("[bhw].*[bhw]", str(n))}
            assert joined <= set(map(str, after))
    lowered = jax.export.export(trace)(given).mlir_module()
    assert set(re.findall(r'= "?([a-z_]+)\.[a-z_]+', lowered)) == {"stablehlo"}
    assert "stablehlo.composite" not in lowered
    assert set(re.findall(r"custom_call @(\w+)", lowered)) <= {"shape_assertion"}
