"""`attn convert`: a PyTorch checkpoint of the authors' code into a Keras weights file."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import keras
from typer import BadParameter

from attn_core import catalog, layers, models
from attn_core.tools.files import replacing
from attn_core.weights import load_torch_weights
from attn_core.weights.archives import check_archive, reason

NESTED = ("state_dict", "model_state_dict", "model", "net", "ema_state_dict")
"""Under which name a checkpoint of a training run may hold the state_dict."""


def make(name: str, config: dict, shape: tuple | None) -> keras.layers.Layer:
    """Return the layer or network of a name, built."""
    networks = {one: getattr(models, one) for one in models.__all__}
    variants = {
        variant: network
        for network in networks.values()
        for variant in getattr(network, "VARIANTS", ())
    }
    try:
        if name in variants:
            return variants[name].from_variant(name, **config)
        target = networks.get(name) or _layer(name, [*networks, *variants])
        made = target(**config)
        if not made.built:
            if shape is None:
                raise BadParameter(f"{target.__name__} needs --shape, as in 14x14x64 or 196x64.")
            made.build((None, *shape))
    except BadParameter:
        raise
    except Exception as error:  # backends have kinds of their own for sizes beyond the memory
        raise BadParameter(reason(error)) from error
    return made


def _layer(name: str, others: list[str]) -> type:
    mechanism = catalog.find(name)
    if mechanism is None:
        known = [n for m in catalog.MECHANISMS for n in (m.key, *m.layers)] + others
        by_case = {one.casefold(): one for one in known}
        nearest = get_close_matches(name.casefold(), by_case, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(by_case[one] for one in nearest)}?" if nearest else ""
        raise BadParameter(f"there is no layer or network {name!r}.{hint}")
    exact = [one for one in mechanism.layers if one.casefold() == name.casefold()]
    return getattr(layers, (exact or mechanism.layers)[0])


def convert(source: Path, target: keras.layers.Layer, prefix: str, out: Path) -> None:
    """Load a checkpoint into a built layer or network, and save its weights."""
    load_torch_weights(target, read(source), prefix=prefix)
    with replacing(out) as unfinished:
        keras.saving.save_weights(target, unfinished)


def read(source: Path) -> Path | Mapping:
    """Return what `load_torch_weights` takes: `.pt` and `.pth` files are read by PyTorch."""
    if source.suffix not in (".pt", ".pth"):
        return source
    try:
        torch = import_module("torch")  # only here, and not as a backend: to read its files
    except ImportError:
        raise ValueError(
            f"{source} is a pickle, which only PyTorch reads: pip install torch, or save the "
            "state_dict as .safetensors or .npz where PyTorch is installed."
        ) from None
    try:
        if is_zipfile(source):  # what torch.save writes; the older kind is not compressed
            check_archive(source)
        content = torch.load(source, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise ValueError(
            f"{source} holds more than weights, which could run any code, or is no checkpoint. "
            "Save its state_dict alone: torch.save(model.state_dict(), path)."
        ) from None
    except Exception as error:  # of any kind: the file may be anything
        raise ValueError(f"{source} cannot be read as a checkpoint: {reason(error)}") from error
    nested = [content[name] for name in NESTED if name in content] if _is_mapping(content) else []
    content = nested[0] if nested and _is_mapping(nested[0]) else content
    if not _is_mapping(content) or not all(hasattr(one, "detach") for one in content.values()):
        raise ValueError(
            f"{source} holds no state_dict: names of parameters, and a tensor for each."
        )
    return content


def _is_mapping(content) -> bool:
    return isinstance(content, Mapping)
