"""Computes a reference vector and checks it before it is written."""

import copy
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.golden.source import Source

TESTS = Path(__file__).parents[2] / "tests"
STEP = 1e-5
"""Length of a step along a direction in which the gradient is compared."""

Arrays = dict[str, np.ndarray]
Tensors = dict[str, torch.Tensor]


class RefusedError(Exception):
    """The numbers of a module do not hold; the message says which."""


def write(source: Source, path: Path) -> list[str]:
    """Write the reference vector of a source, and return what was checked.

    Raises:
        RefusedError: If a check fails. Then there is no file.
    """
    seed = zlib.crc32(path.stem.encode())
    torch.manual_seed(seed)
    module = copy.deepcopy(source.module).eval()
    _draw_weights(module)
    weights = {
        name: value
        for name, value in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    inputs = {name: value.clone() for name, value in source.inputs.items()}
    arrays, gradients = _compute(source, module, inputs)
    checked = [
        _check_output(source, module, inputs, arrays["output"]),
        _check_gradient(source, module, inputs, arrays["cotangent"], gradients),
        _check_weights(source, module, inputs, weights),
    ]
    arrays |= {f"input/{name}": value.numpy() for name, value in inputs.items()}
    arrays |= {f"grad/{name}": value for name, value in gradients.items()}
    arrays |= {f"weights/{name}": value.numpy() for name, value in weights.items()}
    if any(name.endswith("running_mean") for name in weights):
        arrays["output_training"] = _train(source, module, inputs)
    meta = {
        "case": path.stem,
        "number": source.number,
        "layer": source.layer,
        "config": dict(source.config),
        "call": dict(source.call),
        "inputs": list(inputs),
        "reference": dict(source.reference),
        "note": source.note,
        "atol": source.atol,
        "seed": seed,
    }
    narrow = {name: _narrow(value) for name, value in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, meta=np.array(json.dumps(meta)), **narrow)
    try:
        checked.append(_check_reload(path))
    except BaseException:
        path.unlink()
        raise
    return checked


def _draw_weights(module: torch.nn.Module) -> None:
    """Give all weights random values that float32 holds: near one for scales and variances."""
    scales = {
        id(value)
        for part in module.modules()
        for name, value in part.named_parameters(recurse=False)
        if name == "weight" and value.ndim == 1
    }
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if not value.is_floating_point():
                continue
            if name.endswith("running_var") or id(value) in scales:
                value.copy_(1 + 0.3 * torch.rand(value.shape))
            else:
                width = value[0].numel() if value.ndim > 1 else 4
                value.copy_(torch.randn(value.shape) / width**0.5)


def _run(source: Source, module: torch.nn.Module, inputs: Tensors, dtype=torch.float64):
    """Return the output, an image channels last."""
    given = [value.to(dtype) if value.is_floating_point() else value for value in inputs.values()]
    turned = [x.permute(0, 3, 1, 2) if _is_image(x) else x for x in given]
    output = source.forward(copy.deepcopy(module).to(dtype), *turned)
    return output.permute(0, 2, 3, 1) if _is_image(output) else output


def _is_image(x: torch.Tensor) -> bool:
    return x.ndim == 4 and x.is_floating_point()


def _floats(inputs: Tensors) -> Tensors:
    """Return the inputs that have a gradient, in float64, ready for it."""
    return {
        name: value.double().requires_grad_()
        for name, value in inputs.items()
        if value.is_floating_point()
    }


def _compute(source: Source, module: torch.nn.Module, inputs: Tensors) -> tuple[Arrays, Arrays]:
    """Return output and cotangent, and the gradients by input."""
    floats = _floats(inputs)
    output = _run(source, module, inputs | floats)
    cotangent = torch.randn(output.shape).double()
    gradients = torch.autograd.grad(
        (output * cotangent).sum(), list(floats.values()), materialize_grads=True
    )
    arrays = {"output": output.detach().numpy(), "cotangent": cotangent.numpy()}
    return arrays, dict(zip(floats, (value.numpy() for value in gradients), strict=True))


@torch.no_grad()
def _train(source: Source, module: torch.nn.Module, inputs: Tensors) -> np.ndarray:
    """Return the output with the statistics of the batch, without dropout."""
    module = copy.deepcopy(module).train()
    for part in module.modules():
        if "Dropout" in type(part).__name__:
            part.eval()
    return _run(source, module, inputs).numpy()


@torch.no_grad()
def _check_output(
    source: Source, module: torch.nn.Module, inputs: Tensors, output: np.ndarray
) -> str:
    if not np.isfinite(output).all():
        raise RefusedError("The output is not finite.")
    again = _run(source, module, inputs).numpy()
    if not np.array_equal(again, output):
        raise RefusedError("The output is another when computed again: what is random there?")
    error = np.abs(_run(source, module, inputs, torch.float32).numpy() - output).max()
    if error > source.atol:
        raise RefusedError(f"In float32 the output differs by {error:.1e}, more than atol.")
    return f"output: finite, the same again, and in float32 to {error:.1e}"


@torch.no_grad()
def _check_gradient(
    source: Source,
    module: torch.nn.Module,
    inputs: Tensors,
    cotangent: np.ndarray,
    gradients: Arrays,
) -> str:
    """Compare the gradient with central differences along random directions."""
    worst = 0.0
    for name, gradient in gradients.items():
        for _ in range(3):
            direction = torch.randn(inputs[name].shape).double()

            def loss(step: float, name: str = name, direction: torch.Tensor = direction) -> float:
                moved = inputs | {name: inputs[name].double() + step * direction}
                return float((_run(source, module, moved) * torch.from_numpy(cotangent)).sum())

            expected = (loss(STEP) - loss(-STEP)) / (2 * STEP)
            products = gradient * direction.numpy()
            scale = max(1.0, np.linalg.norm(products))
            error = abs(expected - products.sum()) / scale
            worst = max(worst, error)
            if error > 1e-4:
                raise RefusedError(
                    f"The gradient of {name!r} is {products.sum():.6g} along a direction, finite "
                    f"differences say {expected:.6g}."
                )
    return f"gradient: as finite differences to {worst:.1e}"


@torch.no_grad()
def _check_weights(
    source: Source, module: torch.nn.Module, inputs: Tensors, weights: Tensors
) -> str:
    """Change one weight after the other and see whether the output changes."""
    if unknown := set(source.without_effect) - set(weights):
        raise RefusedError(f"There is no weight {sorted(unknown)}.")
    before = _run(source, module, inputs)
    for name, value in weights.items():
        changed = copy.deepcopy(module)
        changed.state_dict()[name].copy_(value + 0.1 * torch.rand(value.shape))
        moves = bool((_run(source, changed, inputs) - before).abs().max() > 1e-9)
        if moves == (name in source.without_effect):
            effect = "changes the output" if moves else "does not change the output"
            raise RefusedError(f"The weight {name!r} {effect}. See `without_effect`.")
    return f"weights: {len(weights)}, of which {len(source.without_effect)} without effect"


def _check_reload(path: Path) -> str:
    """Compare our layer, in float32, with the file, as tests/test_reference.py does."""
    _import_tests()
    import keras
    from attn_core import layers
    from gradients import value_and_gradients
    from reference import load_layer, read

    meta, arrays = read(path)
    if not hasattr(layers, meta["layer"]):
        return f"reload: attn_core has no {meta['layer']} yet; the tests compare it when it has"
    layer, inputs, call = load_layer(path)
    values = list(inputs.values())
    output, gradients, _ = value_and_gradients(layer, values, arrays["cotangent"], **call)
    floats = [name for name, x in inputs.items() if x is not None and x.dtype.kind == "f"]
    pairs = {"output": output}
    pairs |= {f"grad/{name}": value for name, value in zip(floats, gradients, strict=True)}
    if "output_training" in arrays:
        trained = layer(*values, **call, training=True)
        pairs["output_training"] = keras.ops.convert_to_numpy(trained)
    for name, value in pairs.items():
        bound = meta["atol"] * (10 if name.startswith("grad/") else 1)
        error = np.abs(value - arrays[name]).max()
        if not error <= bound:
            raise RefusedError(
                f"{meta['layer']} differs in {name!r} by {error:.1e}, more than {bound}."
            )
    return f"reload: {meta['layer']} gives the same numbers"


def _import_tests() -> None:
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))


def _narrow(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return value.astype("float32") if value.dtype.kind == "f" else value
