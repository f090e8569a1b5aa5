"""The mechanisms as data: one record each, which documentation, commands and tests read.

The records are found in the folders of the families: nothing lists them a second time. Nothing
here imports Keras.
"""

from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules

from attn_core.catalog._record import EXAMPLE as EXAMPLE
from attn_core.catalog._record import Case as Case
from attn_core.catalog._record import Family as Family
from attn_core.catalog._record import LayerRecord as LayerRecord
from attn_core.catalog._record import Mechanism as Mechanism
from attn_core.catalog._record import Size as Size


def _families() -> Iterator[Family]:
    for module in iter_modules(__path__):
        if module.ispkg:
            family = import_module(f"{__name__}.{module.name}").FAMILY
            yield replace(family, key=module.name)


def _records() -> Iterator[Mechanism]:
    for family in FAMILIES:
        folder = import_module(f"{__name__}.{family}")
        for module in iter_modules(folder.__path__):
            record = import_module(f"{folder.__name__}.{module.name}").RECORD
            yield replace(record, key=module.name.replace("_", "-"), family=family)


FAMILIES: dict[str, Family] = {
    family.key: family for family in sorted(_families(), key=lambda one: one.order)
}
"""The families by the name of their folder, in the order in which they are shown."""

MECHANISMS: tuple[Mechanism, ...] = tuple(sorted(_records(), key=lambda one: one.number))
"""The mechanisms, by number."""

LAYERS: dict[str, LayerRecord] = {
    name: replace(layer, family=layer.family or mechanism.family)
    for mechanism in MECHANISMS
    for name, layer in mechanism.layers.items()
}
"""All layers by class name, in the order of the mechanisms."""


def find(name: str) -> Mechanism | None:
    """Return the mechanism with a key, layer class or alias `name`, in any case, or `None`."""
    wanted = name.casefold()
    for mechanism in MECHANISMS:
        names = (mechanism.key, mechanism.name, *mechanism.layers, *mechanism.other_names)
        if wanted in (known.casefold() for known in names):
            return mechanism
    return None


def get(name: str) -> Mechanism:
    """Return the mechanism with a key, layer class or alias `name`, in any case.

    Raises:
        ValueError: If there is none; the message suggests the nearest names.
    """
    mechanism = find(name)
    if mechanism is None:
        known = [n for m in MECHANISMS for n in (m.key, *m.other_names, *m.layers)]
        nearest = get_close_matches(name.casefold(), known, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
        raise ValueError(f"there is no mechanism {name!r}. {hint}`attn list` shows all.")
    return mechanism


def search(words: str) -> list[Mechanism]:
    """Return the mechanisms whose names, paper, authors and repository contain all the words."""
    found = []
    for m in MECHANISMS:
        facts = (m.key, m.name, *m.layers, *m.other_names, m.title, m.authors, m.reference, m.arxiv)
        text = " ".join(facts).casefold()
        if all(word in text for word in words.casefold().split()):
            found.append(m)
    return found


def layer_name(name: str) -> str:
    """Return the class name of the layer called `name`; for a mechanism, its principal layer.

    Raises:
        ValueError: If there is none; the message suggests the nearest names.
    """
    mechanism = get(name)
    wanted = name.casefold()
    for layer, record in mechanism.layers.items():
        if wanted in (known.casefold() for known in (layer, *record.aliases)):
            return layer
    return mechanism.principal
