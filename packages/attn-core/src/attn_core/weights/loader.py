"""`load_torch_weights`: a PyTorch state_dict into a built layer or model, all or nothing."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from attn_core.weights.archives import check_archive, reason
from attn_core.weights.entries import namings


def load_torch_weights(layer_or_model, source, *, prefix: str = "") -> None:
    """Copy a PyTorch `state_dict` of the authors' code into a built layer or model.

    Either every weight is set or, with an error that lists all that is wrong, none. PyTorch need
    not be installed. A file is never unpickled; an `.npz` that would unpack to more than 100 times
    its size (64 MiB are always allowed) is not read.

    Args:
        layer_or_model: A built layer or model of attn-core.
        source: The state_dict: a mapping of the authors' names to arrays or tensors, or the path of
            a `.safetensors` or `.npz` file. The docstring of each layer says whose names.
        prefix: What precedes the layer's names in `source`, "layer1.0.se." say. Names that do not
            start with it are ignored.

    Raises:
        ValueError: If the layer is not built or has no counterpart in PyTorch; if the file cannot
            be read as one of the two kinds; if an entry holds no numbers; if names are missing,
            unexpected or misshapen.
        ImportError: If `source` is a `.safetensors` file and the library safetensors is missing.
        FileNotFoundError: If `source` is the path of no file.

    Example:
        >>> import numpy as np
        >>> from attn_core import SEAttention, load_torch_weights
        >>> layer = SEAttention(reduction=4)
        >>> layer.build((None, None, None, 8))
        >>> load_torch_weights(layer, {"se.fc.0.weight": np.ones((2, 8)),
        ...                            "se.fc.2.weight": np.ones((8, 2))}, prefix="se.")
    """
    if not isinstance(layer_or_model, keras.Layer):
        raise ValueError(f"Weights go into a built layer or model. Received: {layer_or_model!r}")
    if not isinstance(prefix, str):
        raise ValueError(f"`prefix` must be a string. Received: prefix={prefix!r}")
    target = f"{type(layer_or_model).__name__} {layer_or_model.name!r}"
    if not hasattr(layer_or_model, "torch_names"):
        raise ValueError(f"{target} has no counterpart in PyTorch whose names are known.")
    if not layer_or_model.built:
        raise ValueError(f"{target} is not built: call it, or its `build`, before loading weights.")
    arrays = {
        name.removeprefix(prefix): _as_array(name, value)
        for name, value in _read(source).items()
        if name.startswith(prefix) and not name.endswith("num_batches_tracked")
    }
    candidates = [(_problems(naming, arrays), naming) for naming in namings(layer_or_model)]
    problems, naming = min(candidates, key=lambda candidate: len(candidate[0]))
    if problems:
        where = f" under the prefix {prefix!r}" if prefix else ""
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ValueError(
            f"{target}: the state_dict does not fit{where}; nothing was loaded.\n{listed}"
        )
    values = [pair for name, entry in naming.items() for pair in entry.values(arrays[name])]
    for variable, value in values:
        variable.assign(value)


def _problems(naming, arrays) -> list[str]:
    """List what is missing, misshapen and unexpected, sorted by name within each kind."""
    missing = [
        f"missing: {name}, of shape {naming[name].shape}"
        for name in sorted(naming.keys() - arrays.keys())
    ]
    misshapen = [
        f"misshapen: {name}, expected shape {naming[name].shape}, received {arrays[name].shape}"
        for name in sorted(naming.keys() & arrays.keys())
        if not naming[name].fits(arrays[name])
    ]
    unexpected = [
        f"unexpected: {name}, of shape {arrays[name].shape}"
        for name in sorted(arrays.keys() - naming.keys())
    ]
    return missing + misshapen + unexpected


def _as_array(name, value) -> np.ndarray:
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


def _read(source) -> Mapping:
    if isinstance(source, Mapping):
        if not all(isinstance(name, str) for name in source):
            raise ValueError(f"The names in `source` must be strings. Received: {list(source)}")
        return source
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


def _read_npz(path) -> Mapping:
    check_archive(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_safetensors(path) -> Mapping:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            'Reading .safetensors needs safetensors: pip install "attn-core[safetensors]"'
        ) from error
    return load_file(path)
