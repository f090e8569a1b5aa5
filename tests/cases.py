"""The cases of the catalog, as the generic tests build them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from attn_core import catalog, layers
from attn_core.layers import ImageLayer


@dataclass(frozen=True)
class Case:
    """A layer with a configuration.

    Attributes:
        layer: Class name.
        facts: What the catalog says: shape of a sample, configuration, another size.
    """

    layer: str
    facts: catalog.Case

    @property
    def cls(self):
        return getattr(layers, self.layer)

    @property
    def record(self) -> catalog.LayerRecord:
        return catalog.LAYERS[self.layer]

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.facts.config)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input, a batch of two; images are channels last."""
        return (2, *self.facts.shape)

    @property
    def other(self) -> tuple[int, ...] | None:
        return self.facts.other

    @property
    def other_shape(self) -> tuple[int, ...]:
        """The shape of the second size."""
        return (2, *self.facts.other, self.facts.shape[-1])

    @property
    def is_image(self) -> bool:
        return issubclass(self.cls, ImageLayer) and len(self.facts.shape) == 3

    @property
    def has_map(self) -> bool:
        return bool(self.cls.maps)

    @property
    def id(self) -> str:
        options = "-".join(f"{name}={value}" for name, value in self.config.items())
        return f"{self.layer}-{options}" if options else self.layer

    def make(self, **options):
        """Return a new layer."""
        return self.cls(**self.config, **options)

    def draw(self, shape=None, scale=1.0, dtype="float32"):
        """Return random input of the case's shape, or of another size."""
        rng = np.random.default_rng(3)
        return (scale * rng.standard_normal(shape or self.shape)).astype(dtype)


CASES = [Case(name, facts) for name, record in catalog.LAYERS.items() for facts in record.cases]
FIRST = list({case.layer: case for case in reversed(CASES)}.values())[::-1]
"""The first case of each layer."""


def each(cases):
    """Parametrize a test by cases. One process tests a layer, and compiles its operations once."""
    groups = [pytest.param(case, marks=pytest.mark.xdist_group(case.layer)) for case in cases]
    return pytest.mark.parametrize("case", groups, ids=lambda case: case.id)
