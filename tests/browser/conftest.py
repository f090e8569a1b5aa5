"""Tests of the built site in Debian's Chromium, without a network: they run when asked for.

nox -s docs browser
"""

import functools
import http.server
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

SITE = Path(os.environ.get("SITE", "site"))


def pytest_addoption(parser):
    parser.addoption(
        "--one-a-family",
        action="store_true",
        help="of the mechanisms, open the page, search and map of one in each family, as CI does",
    )


def pytest_collection_modifyitems(config, items):
    """Leave out what all mechanisms but one of each family look like, where asked to."""
    if not config.getoption("--one-a-family", default=False):
        return
    import attn_command  # noqa: F401 - first: attn_core then loads no Keras
    from attn_core.catalog import MECHANISMS

    shown = {one.key for one in {one.family: one for one in reversed(MECHANISMS)}.values()}
    others = {one.key for one in MECHANISMS} - shown
    others |= {f"mechanisms/{key}.html" for key in others}

    def is_left_out(item):
        values = item.callspec.params if hasattr(item, "callspec") else {}
        looks = item.name.startswith(("test_page[", "test_search[", "test_views["))
        shows = values.get("page"), values.get("key"), getattr(values.get("mechanism"), "key", None)
        return looks and not others.isdisjoint(shows)

    config.hook.pytest_deselected(items=[one for one in items if is_left_out(one)])
    items[:] = [one for one in items if not is_left_out(one)]


def pytest_ignore_collect(collection_path, config):
    """Leave this folder out of runs that do not name it."""
    asked = any("browser" in argument for argument in config.args)
    return None if asked else True


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Write nothing about requests."""


@contextmanager
def served(folder):
    """Serve a folder on the loopback device; give its address."""
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    """A browser that reaches 127.0.0.1 and, behind a proxy that is not there, nobody else."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "Install Debian's chromium."
    nowhere = {"server": "http://127.0.0.1:9", "bypass": "127.0.0.1"}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            proxy=nowhere,
            ignore_default_args=["--hide-scrollbars"],  # a test sees whether they show
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def window(chromium):
    """Give the window on the site in a colour scheme."""
    from browser.windows import Window

    with served(SITE) as address:
        yield functools.cache(lambda scheme="light": Window(chromium, address, scheme))


@pytest.fixture
def other_site(tmp_path):
    """A copy of the site to damage, and its address."""
    shutil.copytree(SITE, tmp_path / "site")
    with served(tmp_path / "site") as address:
        yield tmp_path / "site", address
