"""Every layer gives the authors' numbers: output, gradient and output in training."""

import json

import numpy as np
import pytest
from gradients import compiled_call, value_and_gradients
from reference import VECTORS, WIDER, load_layer, read


@pytest.mark.every_backend
@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_output_and_gradient(path, record_error):
    meta, arrays = read(path)
    layer, inputs, call = load_layer(path)
    values = list(inputs.values())
    output, gradients, _ = value_and_gradients(layer, values, arrays["cotangent"], **call)

    floats = [name for name, x in inputs.items() if x is not None and x.dtype.kind == "f"]
    errors = {"output": np.abs(output - arrays["output"]).max()}
    for name, gradient in zip(floats, gradients, strict=True):
        if f"grad/{name}" in arrays:
            errors[f"grad/{name}"] = np.abs(gradient - arrays[f"grad/{name}"]).max()
    if "output_training" in arrays:
        trained = compiled_call(layer, values, **call, training=True)
        errors["output_training"] = np.abs(trained - arrays["output_training"]).max()
    record_error(meta["layer"], path.stem, meta["atol"], errors)

    assert len([name for name in errors if name.startswith("grad/")]) == len(
        [name for name in arrays if name.startswith("grad/")]
    )
    for name, error in errors.items():
        bound = 10 * meta["atol"] if name.startswith("grad/") else meta["atol"]
        bound = WIDER.get((path.stem, name), bound)
        assert error <= bound, f"{name}: {error} > {bound}"


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_number_of_parameters(path):
    _, arrays = read(path)
    layer, _, _ = load_layer(path)
    theirs = [array.size for name, array in arrays.items() if name.startswith("weights/")]
    assert layer.count_params() == sum(theirs)


def test_vectors_are_there():
    layers = {read(path)[0]["layer"] for path in VECTORS}
    assert len(VECTORS) >= 90, json.dumps(sorted(layers))
