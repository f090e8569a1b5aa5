"""How PyTorch's parameters become ours: one rule for each kind of Keras layer.

A layer says with `torch_names()` which of its children, or variables, the authors call what:

    def torch_names(self):
        return {"fc.0": self.squeeze, "fc.2": self.excite, "gamma": self.gamma}

Values are layers (a rule below names their variables, or their own `torch_names` do), lists of
layers (the authors' name is followed by the index), variables (same numbers, same order of axes) or
an `Entry` for whatever is stored in another way. Keys end where the value's own names begin; the
key "" adds nothing. A layer whose checkpoints come with names of several kinds returns `Schemes`,
with one such table for each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import numpy as np

Table = TypeVar("Table")


class Schemes(dict[str, Mapping[str, Any]]):
    """The tables of names of one layer, by who gives these names.

    The key is "authors" for the authors of the mechanism, "timm", "collection" for the
    External-Attention collections, or another word. The first table is used within layers that
    know the key of no other.
    """


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
        """Return whether `array` has the expected shape; axes of length one do not count."""
        return _without_ones(array.shape) == _without_ones(self.shape)

    def values(self, array: np.ndarray) -> Iterator[tuple[keras.Variable, np.ndarray]]:
        """Yield each variable with its new value."""
        return zip(self.variables, self.convert(array.reshape(self.shape)), strict=True)


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)


def copied(variable: keras.Variable, shape: Sequence[int] | None = None) -> Entry:
    """Return the entry of a parameter that holds the same numbers in the same order.

    Args:
        variable: The variable of ours.
        shape: The parameter's shape, where it is not the variable's.
    """
    shape = variable.shape if shape is None else shape
    return Entry(tuple(shape), (variable,), lambda array: (array.reshape(variable.shape),))


def transposed(variable: keras.Variable, axes: Sequence[int]) -> Entry:
    """Return the entry of a parameter whose axes, taken in the order `axes`, are the variable's."""
    shape = [0] * len(axes)
    for ours, theirs in enumerate(axes):
        shape[theirs] = variable.shape[ours]
    return Entry(tuple(shape), (variable,), lambda array: (array.transpose(axes),))


def stacked(*variables: keras.Variable) -> Entry:
    """Return the entry of one linear weight, or bias, of the authors that is several of ours.

    Their weight, `(sum of outputs, inputs)`, has the rows of one map after those of another. The
    variables are dense kernels, `(inputs, outputs)`, or biases, `(outputs,)`, in that order.
    """
    sizes = [variable.shape[-1] for variable in variables]
    shape = (sum(sizes), *variables[0].shape[:-1])
    splits = np.cumsum(sizes)[:-1]
    return Entry(shape, variables, lambda array: tuple(part.T for part in np.split(array, splits)))


def _dense(layer: Any) -> dict[str, Entry]:
    return {"weight": transposed(layer.kernel, (1, 0))} | _bias(layer)


def _conv(layer: Any) -> dict[str, Entry]:
    spatial = range(2, len(layer.kernel.shape))
    return {"weight": transposed(layer.kernel, (*spatial, 1, 0))} | _bias(layer)


def _depthwise_conv(layer: Any) -> dict[str, Entry]:
    *size, channels, multiplier = layer.kernel.shape
    axes = (*range(2, len(size) + 2), 0, 1)

    def convert(array: np.ndarray) -> tuple[np.ndarray, ...]:
        return (array.reshape(channels, multiplier, *size).transpose(axes),)

    weight = Entry((channels * multiplier, 1, *size), (layer.kernel,), convert)
    return {"weight": weight} | _bias(layer)


def _bias(layer: Any) -> dict[str, Entry]:
    return {"bias": copied(layer.bias)} if layer.use_bias else {}


def _norm(layer: Any) -> dict[str, Entry]:
    names = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    variables = {name: getattr(layer, ours, None) for name, ours in names.items()}
    return {name: copied(variable) for name, variable in variables.items() if variable is not None}


_RULES: tuple[tuple[Any, Callable[[Any], dict[str, Entry]]], ...] = (
    (keras.layers.Dense, _dense),
    ((keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D), _depthwise_conv),
    ((keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D), _conv),
    (
        (
            keras.layers.BatchNormalization,
            keras.layers.LayerNormalization,
            keras.layers.GroupNormalization,
        ),
        _norm,
    ),
)


def namings(target: Any) -> dict[str, dict[str, Entry]]:
    """Return the entries of `target` by their names in PyTorch, for each scheme of names.

    A checkpoint has the names of one scheme throughout. Parts that do not know it use their first
    table. The scheme of a target with a single table and no word for it is "".
    """
    if isinstance(target, Entry):
        return {"": {"": target}}
    if isinstance(target, keras.Variable):
        return {"": {"": copied(target)}}
    if isinstance(target, (list, tuple)):
        return _join({str(index): item for index, item in enumerate(target)})
    if hasattr(target, "torch_names"):
        return _join(target.torch_names())
    for kinds, rule in _RULES:
        if isinstance(target, kinds):
            return {"": rule(target)}
    raise TypeError(f"No rule names the weights of {target!r}.")


def entries(target: Any) -> dict[str, Entry]:
    """Return the entries of `target` by the names of its first scheme."""
    return next(iter(namings(target).values()))


def _join(names: Mapping[str, Any]) -> dict[str, dict[str, Entry]]:
    """Prefix the entries of each value of the tables with its key, for each scheme."""
    tables = names if isinstance(names, Schemes) else {"": names}
    parts = {
        scheme: {prefix: namings(value) for prefix, value in table.items()}
        for scheme, table in tables.items()
    }
    inner = (scheme for table in parts.values() for part in table.values() for scheme in part)
    schemes = [one for one in dict.fromkeys((*tables, *inner)) if one] or [""]
    return {
        scheme: {
            ".".join(filter(None, (prefix, name))): entry
            for prefix, part in _chosen(parts, scheme).items()
            for name, entry in _chosen(part, scheme).items()
        }
        for scheme in schemes
    }


def _chosen(tables: Mapping[str, Table], scheme: str) -> Table:
    """Return the table of a scheme, or the first one."""
    return tables.get(scheme, next(iter(tables.values())))
