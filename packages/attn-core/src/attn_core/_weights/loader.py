"""`load_torch_weights`: a PyTorch state_dict into a built layer or model, all or nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from attn_core import _checks as checks
from attn_core._weights.archives import check_archive, reason
from attn_core._weights.entries import Entry, namings
from attn_core._weights.plain import check_plain

T = TypeVar("T")

AUTHORS = "authors"
"""The scheme of names where there is only one."""


@dataclass(frozen=True)
class Loaded:
    """What `load_torch_weights` did.

    Attributes:
        left: What was left out: weights of the classifier that are missing, unexpected or of
            another shape.
        scheme: Whose names the state_dict has: "authors" for the authors of the mechanism, "timm",
            "collection" for the External-Attention collections, or another word. Where several use
            the same names, it is "authors".
    """

    left: tuple[str, ...] = ()
    scheme: str = AUTHORS


BUFFERS = ("num_batches_tracked", "relative_position_index", "attn_mask", "biases")
"""Ends of the names of entries that hold no weights: counters, and tables known from the sizes."""

NESTED = (
    *("state_dict", "model_state_dict", "model", "net"),
    *("state_dict_ema", "ema_state_dict", "model_ema"),
    *("weights", "params", "params_ema", "ema"),
)
"""The names under which the checkpoint of a training run may hold the state_dict."""

MANY = 20
"""Of how many entries that do not fit an error lists each; more are another network's."""


def load_torch_weights(
    layer_or_model: keras.layers.Layer,
    source: Mapping[str, Any] | str | Path,
    *,
    prefix: str = "",
    head: bool = True,
    skip_mismatch: bool = False,
    adapt_channels: bool = False,
) -> Loaded:
    """Copy a PyTorch `state_dict` of the authors' code, or of timm's, into a built layer or model.

    The names tell whose state_dict it is. Either all weights are set, or none, with an error that
    says what is wrong. Only the classifier of a network may be left out, with `head` or
    `skip_mismatch`. PyTorch need not be installed. Files are never unpickled. An `.npz` that would
    unpack to more than 100 times its size (64 MiB are always allowed) is not read. The prefixes
    "module." of `DataParallel` and "_orig_mod." of `torch.compile` are removed from the names.

    Args:
        layer_or_model: A built layer or model of attn-core.
        source: The state_dict: a mapping of names to arrays or tensors, also within the checkpoint
            of a training run, under "state_dict" or "model"; or the path of a `.safetensors` or
            `.npz` file. The docstring of each layer says from whose code the names are.
        prefix: What precedes the names in `source`, for example "layer1.0.se.". Names that do
            not start with it are ignored.
        head: Whether to load the classifier of a network. With False its weights do not change.
        skip_mismatch: Whether the weights of a network's classifier may stay as they are if they do
            not fit, for example to train a checkpoint with 1000 classes for 10 classes, or with
            `include_top=False`.
        adapt_channels: Whether the first kernel of a network may be changed to the network's
            `in_channels`, as timm does. For one channel it becomes the sum over the channels of the
            checkpoint: grey images give what they give as colour images of three equal channels.
            For another number the checkpoint's channels are repeated in turn, or cut off, and
            scaled by the quotient of the two numbers. A kernel that fits is not changed.

    Returns:
        What was left out, and whose names the state_dict has.

    Raises:
        ValueError: If the layer is not built, is quantized, has LoRA or has no counterpart in
            PyTorch; if the file cannot be read as one of the two kinds; if an entry is not an array
            of numbers; if names are missing or unexpected; if shapes are wrong. If there are more
            than 20 of these, the state_dict is that of another network, and the error counts them.
        ImportError: If `source` is a `.safetensors` file and the library safetensors is missing.
        FileNotFoundError: If there is no file at the path `source`.

    Example:
        >>> import numpy as np
        >>> from attn_core import SEAttention, load_torch_weights
        >>> layer = SEAttention(reduction=4)
        >>> layer.build((None, None, None, 8))
        >>> load_torch_weights(layer, {"se.fc.0.weight": np.ones((2, 8)),
        ...                            "se.fc.2.weight": np.ones((8, 2))}, prefix="se.")
        Loaded(left=(), scheme='authors')
    """
    _check_target(layer_or_model)
    if not isinstance(prefix, str):
        raise ValueError(f"`prefix` must be a string. Received: prefix={prefix!r}")
    checks.flag(layer_or_model, "head", head)
    checks.flag(layer_or_model, "skip_mismatch", skip_mismatch)
    checks.flag(layer_or_model, "adapt_channels", adapt_channels)
    arrays = _arrays(source, prefix)
    schemes = namings(layer_or_model)
    found = {one: _problems(naming, arrays) for one, naming in schemes.items()}
    scheme = min(found, key=lambda one: len(found[one]))
    naming, problems = schemes[scheme], found[scheme]
    if adapt_channels:
        adapted = _adapted(layer_or_model, naming, arrays)
        arrays = {**arrays, **adapted}
        problems = {name: one for name, one in problems.items() if name not in adapted}
    spared = {
        name: f"left out: {name}"
        for name in (*naming, *arrays)
        if not head and _is_below(name, getattr(layer_or_model, "classifier", ()))
    }
    top = getattr(layer_or_model, "TOP", ()) if skip_mismatch or not head else ()
    left = {**spared, **{name: one for name, one in problems.items() if _is_below(name, top)}}
    wrong = {name: one for name, one in problems.items() if name not in left}
    values = [
        pair
        for name, entry in naming.items()
        if name not in left and name not in wrong
        for pair in entry.values(arrays[name])
    ]
    if wrong or (naming and not values):
        where = f" under the prefix {prefix!r}" if prefix else ""
        raise ValueError(
            f"{_described(layer_or_model)}: the state_dict does not fit{where}; nothing was loaded."
            f"{_explained(layer_or_model, naming, arrays, wrong, scheme or AUTHORS)}"
        )
    for variable, value in values:
        variable.assign(value)
    return Loaded(tuple(left.values()), scheme or AUTHORS)


def _described(target: keras.layers.Layer) -> str:
    return f"{type(target).__name__} {target.name!r}"


def _check_target(target: Any) -> None:
    """Raise a ValueError if a layer or model cannot take weights."""
    if not isinstance(target, keras.Layer):
        raise ValueError(f"Weights go into a built layer or model. Received: {target!r}")
    if not hasattr(target, "torch_names"):
        raise ValueError(
            f"{_described(target)} has no counterpart in PyTorch whose names are known. If it is a "
            "copy of a network by `keras.models.clone_model` or `insert_attention`, which return a "
            "plain model: load the weights into the network first, or copy it by `copy.deepcopy`."
        )
    if not target.built:
        raise ValueError(
            f"{_described(target)} is not built: call it, or its `build`, before loading weights."
        )
    check_plain(
        target,
        "weights are loaded into full precision: load them first, then call `quantize` or "
        "`enable_lora`",
    )


def _arrays(source: Any, prefix: str) -> Mapping[str, np.ndarray]:
    """Return the entries under a prefix, without it and without wrappers."""
    given = _read(source)
    if not any(name.startswith(prefix) for name in given):
        given = _unwrapped(given)
    arrays = {
        name.removeprefix(prefix): _as_array(name, value)
        for name, value in given.items()
        if name.startswith(prefix) and name.rpartition(".")[2] not in BUFFERS
    }
    return _unwrapped(arrays)


def _explained(
    target: Any,
    naming: Mapping[str, Entry],
    arrays: Mapping[str, np.ndarray],
    wrong: Mapping[str, str],
    scheme: str,
) -> str:
    """Return what would help, and what does not fit: a line for each, or the kinds of many.

    If nothing is known that would help, many mean that it is another network's.
    """
    advice = _advice(target, naming, arrays, wrong)
    if len(wrong) <= MANY:
        return advice + "".join(f"\n  - {problem}" for problem in wrong.values())
    if advice:
        return advice
    kinds: dict[str, list[str]] = {}
    for name, problem in wrong.items():
        kinds.setdefault(problem.partition(":")[0], []).append(name)
    several = ", ".join(f"{len(names)} are {kind} ({names[0]})" for kind, names in kinds.items())
    others = getattr(target, "OTHERS", {}).items()
    theirs = [name for name in wrong if name in arrays]
    known = [network for part, network in others if any(part in name for name in theirs)]
    return (
        f" It is a checkpoint of {known[0] if known else 'another network or another variant'}: of "
        f"the {len(naming)} entries that are needed, by the names of {scheme}, "
        f"{len(naming.keys() - wrong.keys())} fit, {several}."
    )


def _is_below(name: str, owners: Sequence[str]) -> bool:
    """Return whether a parameter is one of the `owners`, or belongs to one."""
    return any(name == owner or name.startswith(f"{owner}.") for owner in owners)


def _adapted(
    target: Any, naming: Mapping[str, Entry], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the first kernels of a network that fit but for the number of channels, adapted."""

    def but_channels(shape: tuple[int, ...]) -> tuple[object, ...]:
        return len(shape), shape[:1], shape[2:]

    shapes = {
        name: (naming[name].shape, arrays[name].shape)
        for name in naming.keys() & arrays.keys()
        if _is_below(name, getattr(target, "first_layers", ()))
    }
    return {
        name: _for_channels(arrays[name], ours[1])
        for name, (ours, theirs) in shapes.items()
        if ours != theirs and but_channels(ours) == but_channels(theirs)
    }


def _for_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Return a kernel of PyTorch, `(outputs, inputs, ...)`, for another number of inputs."""
    if channels == 1:
        return kernel.sum(1, keepdims=True)
    given = kernel.shape[1]
    return kernel[:, np.arange(channels) % given] * (given / channels)


def _unwrapped(arrays: Mapping[str, T]) -> Mapping[str, T]:
    """Take what PyTorch's wrappers put before all names off them."""
    for wrapper in ("module.", "_orig_mod."):
        if arrays and all(name.startswith(wrapper) for name in arrays):
            return _unwrapped({name.removeprefix(wrapper): one for name, one in arrays.items()})
    return arrays


def _advice(
    target: Any,
    naming: Mapping[str, Entry],
    arrays: Mapping[str, np.ndarray],
    wrong: Mapping[str, str],
) -> str:
    """Return what would help: a prefix, an option of the loader, or another network or layer."""
    fits = Counter(
        name.removesuffix(one)
        for name in arrays
        for one in (naming if len(wrong) > 1 else ())
        if name.endswith(f".{one}") and one not in arrays
    )
    if fits and max(fits.values()) > len(naming) / 2:
        return f" The names fit with prefix={fits.most_common(1)[0][0]!r}."
    top = {name for name in wrong if _is_below(name, getattr(target, "TOP", ()))}
    first = wrong.keys() & _adapted(target, naming, arrays).keys()
    if wrong and wrong.keys() == top | first:
        parts = {
            "the classifier (`skip_mismatch=True` leaves it as it is)": top,
            "the channels of the images (`adapt_channels=True` adapts the first kernel)": first,
        }
        return f" All fits but {' and '.join(part for part, names in parts.items() if names)}."
    if wrong and hasattr(target, "resized") and wrong.keys() <= naming.keys() & arrays.keys():
        parts = [one for one in target._flatten_layers() if hasattr(one, "resize_from")]
        sized = {id(variable) for part in parts for variable in part.variables}
        if sized.issuperset(id(one) for name in wrong for one in naming[name].variables):
            return (
                " Only weights that depend on the image's size do not fit: load them into a "
                "network of the checkpoint's size, then call its `resized`."
            )
    if hasattr(target, "use_bias") and wrong and all(name.endswith("bias") for name in wrong):
        return f" Only biases do not fit: build the layer with `use_bias={not target.use_bias}`."
    return ""


def _problems(naming: Mapping[str, Entry], arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Say by name what is missing, misshapen and unexpected, sorted by name within each kind."""
    missing = {
        name: f"missing: {name}, of shape {naming[name].shape}"
        for name in sorted(naming.keys() - arrays.keys())
    }
    misshapen = {
        name: f"misshapen: {name}, expected shape {naming[name].shape}, "
        f"received {arrays[name].shape}"
        for name in sorted(naming.keys() & arrays.keys())
        if not naming[name].fits(arrays[name])
    }
    unexpected = {
        name: f"unexpected: {name}, of shape {arrays[name].shape}"
        for name in sorted(arrays.keys() - naming.keys())
    }
    return missing | misshapen | unexpected


def unnested(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state_dict within the checkpoint of a training run, or what is none as it is."""
    inner = (checkpoint.get(name) for name in NESTED)
    nested = next((one for one in inner if isinstance(one, Mapping)), None)
    if nested is not None:
        return unnested(nested)
    if within := [name for name, one in checkpoint.items() if isinstance(one, Mapping) and one]:
        names = " or ".join(map(repr, within))
        raise ValueError(f"The state_dict is within the checkpoint: pass the entry {names} of it.")
    return checkpoint


def _as_array(name: str, value: Any) -> np.ndarray:
    """Return the numbers of an entry, in one of the two precisions that every backend takes."""
    try:
        if hasattr(value, "detach"):  # a PyTorch tensor; NumPy knows no bfloat16, so float32
            value = value.detach().cpu().float().numpy()
        array = np.asarray(value)
    except Exception as error:  # of any kind: a ragged list, a tensor without values, ...
        raise ValueError(f"Entry {name!r} must hold numbers. Received: {reason(error)}") from error
    if array.dtype.kind not in "fiu" and "float" not in array.dtype.name:
        raise ValueError(f"Entry {name!r} must hold numbers. Received: dtype {array.dtype}")
    return array.astype("float64" if array.dtype == "float64" else "float32", copy=False)


def _read(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        if not all(isinstance(name, str) for name in source):
            raise ValueError(f"The names in `source` must be strings. Received: {list(source)}")
        return unnested(source)
    if not isinstance(source, (str, Path)):
        raise ValueError(
            "`source` must be a mapping of names to arrays or the path of a .safetensors or .npz "
            f"file. Received: {source!r}"
        )
    path = Path(source)
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise ValueError(
            f"`source` must be a .safetensors or .npz file. Received: {str(path)!r}. A checkpoint "
            "saved by torch.save is a pickle, which could run any code: load it with PyTorch and "
            "pass the state_dict, or save it with safetensors."
        )
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        return readers[path.suffix](path)
    except ImportError:
        raise
    except Exception as error:  # each reader has its own kinds for a broken file
        raise ValueError(
            f"{str(path)!r} cannot be read: it must be a whole {path.suffix} file of arrays. "
            f"Received: {reason(error)}"
        ) from error


def _read_npz(path: Path) -> Mapping[str, Any]:
    check_archive(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            'Reading .safetensors needs safetensors: pip install "attn-core[safetensors]"'
        ) from error
    return load_file(path)
