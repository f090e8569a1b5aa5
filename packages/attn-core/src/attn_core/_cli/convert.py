"""`attn convert`: from a PyTorch checkpoint to a file of Keras, which is checked."""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import keras
import numpy as np
from typer import BadParameter

from attn_core import catalog, layers, models
from attn_core._cli.files import TORCH_FILES
from attn_core._tools.files import replacing
from attn_core._weights import load_torch_weights
from attn_core._weights.archives import check_archive, reason
from attn_core._weights.loader import unnested
from attn_core.models import Preprocess
from attn_core.models._base import AttentionModel


def make(name: str, config: dict[str, Any], shape: tuple[int, ...] | None) -> keras.layers.Layer:
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
    except Exception as error:  # backends have errors of their own for sizes beyond the memory
        raise BadParameter(reason(error)) from error
    return made


def _layer(name: str, others: list[str]) -> type:
    if catalog.find(name) is None:
        known = [n for m in catalog.MECHANISMS for n in (m.key, *m.layers)] + others
        by_case = {one.casefold(): one for one in known}
        nearest = get_close_matches(name.casefold(), by_case, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(by_case[one] for one in nearest)}?" if nearest else ""
        raise BadParameter(f"there is no layer or network {name!r}.{hint}")
    return getattr(layers, catalog.layer_name(name))


def convert(
    source: Path,
    target: keras.layers.Layer,
    out: Path,
    shape: tuple[int, ...] | None = None,
    **options: Any,
) -> list[str]:
    """Load a checkpoint into a built layer or network, save it, and check the file.

    It returns what a user must know of the checkpoint.

    Args:
        source: The checkpoint.
        target: The layer or network.
        out: A `.weights.h5` file, or for a network a `.keras` file.
        shape: Shape of the input of a layer, without the batch.
        **options: Those of `load_torch_weights`.
    """
    whole = out.suffix == ".keras"
    if whole and not isinstance(target, keras.Model):
        raise ValueError(f"{out}: a layer alone is saved as .weights.h5, a network also as .keras.")
    loaded = load_torch_weights(target, read(source), **options)
    told = described(source) if getattr(target, "takes_colours", False) else None
    if told is not None:
        target.preprocess = told
    x = _sample(target, shape)
    expected = _outputs(target, x)
    with replacing(out) as unfinished:
        if whole:
            target.save(unfinished)
            found = keras.saving.load_model(unfinished)
        else:
            keras.saving.save_weights(target, unfinished)
            for weight in target.weights:
                weight.assign(keras.ops.zeros_like(weight))
            keras.saving.load_weights(target, unfinished)
            found = target
        for one, other in zip(_outputs(found, x), expected, strict=True):
            if not np.allclose(one, other, 1e-5, 1e-5, equal_nan=True):
                raise ValueError(f"{out}: read again, the file gave other outputs.")
    origin = "its publishers" if told is None else source.with_name("config.json")
    lines = [*loaded.left, *_remarks(target, loaded.scheme, origin)]
    if told is not None and not whole:
        lines.append(
            "Only a .keras file keeps this: set `network.preprocess` after loading the weights."
        )
    return lines


def _remarks(target: keras.layers.Layer, scheme: str, origin: str | Path) -> Iterator[str]:
    """Yield whose names a checkpoint has, and what it expects of images, and who says so."""
    whose = {"authors": "the authors", "collection": "the External-Attention collections"}
    yield f"The names are those of {whose.get(scheme, scheme)}."
    if not isinstance(target, AttentionModel):
        return
    if target.preprocess is None:
        yield "What the checkpoint expects of images is not known: look where it comes from."
    else:
        yield f"It expects {target.preprocess} (according to {origin})."


def described(source: Path) -> Preprocess | None:
    """Return what the `config.json` beside a checkpoint of timm says about its images, if any."""
    try:
        config = json.loads(source.with_name("config.json").read_text())["pretrained_cfg"]
    except (OSError, ValueError, KeyError, TypeError):  # no such file, or not one of timm
        return None
    return Preprocess.from_timm(config)


def _sample(target: keras.layers.Layer, shape: tuple[int, ...] | None) -> np.ndarray:
    """Return random numbers of the shape that a layer or network takes."""
    if shape is None:
        shape = tuple(256 if side is None else side for side in target.input_shape[1:])
    return np.random.default_rng(0).standard_normal((1, *shape)).astype("float32")


def _outputs(target: keras.layers.Layer, x: np.ndarray) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(target(x))]


def read(source: Path) -> Path | Mapping[str, Any]:
    """Return what `load_torch_weights` takes: PyTorch reads its own files."""
    if not source.name.endswith(TORCH_FILES):
        return source
    try:
        torch = import_module("torch")  # not as a backend, but to read its files
    except ImportError:
        raise ValueError(
            f"{source} is a pickle, which only PyTorch reads: pip install torch, or save the "
            "state_dict as .safetensors or .npz where PyTorch is installed."
        ) from None
    try:
        if is_zipfile(source):  # what torch.save writes; the older kind is not compressed
            check_archive(source)
        with torch.serialization.safe_globals([Namespace]):  # the arguments of a training program
            content = torch.load(source, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise ValueError(
            f"{source} holds more than weights, which could run any code, or is no checkpoint. "
            "Save its state_dict alone: torch.save(model.state_dict(), path)."
        ) from None
    except Exception as error:  # of any kind: the file may be anything
        raise ValueError(f"{source} cannot be read as a checkpoint: {reason(error)}") from error
    content = unnested(content) if isinstance(content, Mapping) else {"": None}
    if not all(hasattr(one, "detach") for one in content.values()):
        raise ValueError(
            f"{source} holds no state_dict: names of parameters, and a tensor for each."
        )
    return content
