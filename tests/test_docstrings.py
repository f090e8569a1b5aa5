"""The examples of the docstrings run and print what they say."""

import doctest
import importlib
import inspect
import pkgutil
import re

import attn_core
import keras
import pytest
from attn_core import catalog

MODULES = [
    info.name
    for info in pkgutil.walk_packages(attn_core.__path__, "attn_core.")
    if not info.name.endswith(("__main__", "kernels_jax", "kernels_torch"))
]
"""All modules but those that import the backend of their name, and have no examples."""


class ShapeChecker(doctest.OutputChecker):
    """Takes PyTorch's and TensorFlow's own way of printing a shape for the tuple it is."""

    def check_output(self, want, got, optionflags):
        got = re.sub(r"(?:torch\.Size|TensorShape)\(\[(.*?)\]\)", r"(\1)", got)
        return super().check_output(want, got, optionflags)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    if name.startswith("attn_core.models") and keras.config.backend() == "jax":
        pytest.skip("JAX compiles every operation by itself: minutes; the other backends run them")
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(ShapeChecker(), verbose=False)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


RESULT = re.compile(r"^ *Returns:\n +(.*)$", re.MULTILINE)


def test_results_are_no_types():
    """The site takes what is before a colon in the first line of a result for its type."""
    functions = [one for one in vars(attn_core).values() if inspect.isfunction(one)]
    results = [RESULT.search(one.__doc__)[1] for one in functions if "Returns:" in one.__doc__]
    assert len(results) > 5
    assert [one for one in results if ": " in one] == []


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    examples = [t for m in modules for t in finder.find(m) if t.examples]
    assert len(examples) >= len(catalog.LAYERS)
