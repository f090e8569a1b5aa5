"""The defaults of all public layers, networks and functions: users' programs rely on them.

They are kept in defaults.json. `python tests/test_defaults.py` writes the file anew: after a
default was changed on purpose, or to add new names and arguments, which are compared once they are
in it.
"""

import inspect
import json
from pathlib import Path

import attn_core
import pytest
from attn_core import models

KEPT = Path(__file__).parent / "defaults.json"


def defaults() -> dict[str, dict[str, str]]:
    """Return the default of each argument that has one, by public name."""
    found = {}
    for module in (attn_core, models):
        for name, one in vars(module).items():
            if callable(one) and not name.startswith("_"):
                parameters = inspect.signature(one).parameters.values()
                given = {p.name: repr(p.default) for p in parameters if p.default is not p.empty}
                found[name] = given
    return found


@pytest.mark.parametrize(("name", "kept"), json.loads(KEPT.read_text()).items())
def test_defaults(name, kept):
    found = defaults()[name]
    assert {argument: found.get(argument) for argument in kept} == kept


if __name__ == "__main__":
    KEPT.write_text(json.dumps(defaults(), indent=1, sort_keys=True) + "\n")
