"""Tests that start devices and processes of their own take minutes: they run when asked for.

pytest tests/distribution
"""


def pytest_ignore_collect(collection_path, config):
    """Leave this folder out of runs that do not name it."""
    asked = any("distribution" in argument for argument in config.args)
    return None if asked else True
