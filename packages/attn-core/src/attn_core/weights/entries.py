"""How PyTorch's parameters become ours: one rule for each kind of Keras layer.

A layer says with `torch_names()` which of its children, or variables, the authors call what:

    def torch_names(self):
        return {"fc.0": self.squeeze, "fc.2": self.excite, "gamma": self.gamma}

Values are layers (a rule below names their variables, or their own `torch_names` do), lists of
layers (the authors' name is followed by the index), variables (same numbers, same order of axes) or
an `Entry` for whatever is stored in another way. Keys end where the value's own names begin; the
key "" adds nothing. A layer whose checkpoints come in several namings returns a list of dicts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class Entry:
    """One parameter of the authors' code.

    Attributes:
        shape: Its shape there. Axes of length one do not count: a 1x1 convolution is a dense layer.
        variables: The variables of ours that it fills.
        convert: Turns an array of `shape` into one array for each variable.
    """

    shape: tuple[int, ...]
    variables: tuple[keras.Variable, ...]
    convert: Callable[[np.ndarray], tuple[np.ndarray, ...]]

    def fits(self, array: np.ndarray) -> bool:
        """Whether `array` has the expected shape, axes of length one apart."""
        return _without_ones(array.shape) == _without_ones(self.shape)

    def values(self, array: np.ndarray) -> Iterator[tuple[keras.Variable, np.ndarray]]:
        """Yield each variable with its new value."""
        return zip(self.variables, self.convert(array.reshape(self.shape)), strict=True)


def _without_ones(shape) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)


def same(variable, shape=None) -> Entry:
    """Return the entry of a parameter that holds the same numbers in the same order."""
    shape = tuple(variable.shape) if shape is None else shape
    return Entry(shape, (variable,), lambda array: (array.reshape(variable.shape),))


def transposed(variable, axes) -> Entry:
    """Return the entry of a parameter whose axes, taken in the order `axes`, are the variable's."""
    shape = [0] * len(axes)
    for ours, theirs in enumerate(axes):
        shape[theirs] = variable.shape[ours]
    return Entry(tuple(shape), (variable,), lambda array: (array.transpose(axes),))


def rows(*variables) -> Entry:
    """Return the entry of a linear weight `(sum of outputs, inputs)`, or bias, that fills several.

    The variables are dense kernels `(inputs, outputs)`, or biases `(outputs,)`, in the order of
    their rows.
    """
    sizes = [variable.shape[-1] for variable in variables]
    shape = (sum(sizes), *variables[0].shape[:-1])
    splits = np.cumsum(sizes)[:-1]
    return Entry(shape, variables, lambda array: tuple(part.T for part in np.split(array, splits)))


def _dense(layer) -> dict[str, Entry]:
    return {"weight": transposed(layer.kernel, (1, 0))} | _bias(layer)


def _conv(layer) -> dict[str, Entry]:
    spatial = range(2, len(layer.kernel.shape))
    return {"weight": transposed(layer.kernel, (*spatial, 1, 0))} | _bias(layer)


def _depthwise_conv(layer) -> dict[str, Entry]:
    *size, channels, multiplier = layer.kernel.shape
    axes = (*range(2, len(size) + 2), 0, 1)

    def convert(array):
        return (array.reshape(channels, multiplier, *size).transpose(axes),)

    weight = Entry((channels * multiplier, 1, *size), (layer.kernel,), convert)
    return {"weight": weight} | _bias(layer)


def _bias(layer) -> dict[str, Entry]:
    return {"bias": same(layer.bias)} if layer.use_bias else {}


def _norm(layer) -> dict[str, Entry]:
    names = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    variables = {name: getattr(layer, ours, None) for name, ours in names.items()}
    return {name: same(variable) for name, variable in variables.items() if variable is not None}


_RULES = (
    (keras.layers.Dense, _dense),
    ((keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D), _depthwise_conv),
    ((keras.layers.Conv1D, keras.layers.Conv2D), _conv),
    (
        (
            keras.layers.BatchNormalization,
            keras.layers.LayerNormalization,
            keras.layers.GroupNormalization,
        ),
        _norm,
    ),
)


def namings(target) -> list[dict[str, Entry]]:
    """Return the entries of `target` by the authors' names, once for each naming they use."""
    if isinstance(target, Entry):
        return [{"": target}]
    if isinstance(target, keras.Variable):
        return [{"": same(target)}]
    if isinstance(target, (list, tuple)):
        return _join({str(index): item for index, item in enumerate(target)})
    if hasattr(target, "torch_names"):
        names = target.torch_names()
        choices = names if isinstance(names, list) else [names]
        return [naming for choice in choices for naming in _join(choice)]
    for kinds, rule in _RULES:
        if isinstance(target, kinds):
            return [rule(target)]
    raise TypeError(f"No rule names the weights of {target!r}.")


def _join(names: dict) -> list[dict[str, Entry]]:
    """Prefix the entries of each value with its key; every combination of their namings."""
    joined = [{}]
    for prefix, value in names.items():
        alternatives = [
            {".".join(filter(None, (prefix, name))): entry for name, entry in naming.items()}
            for naming in namings(value)
        ]
        joined = [before | naming for before in joined for naming in alternatives]
    return joined
