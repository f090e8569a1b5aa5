"""Child processes that have Keras, PyTorch and pytest loaded, and import attn_core from a copy."""

import contextlib
import importlib
import os
import py_compile
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

TESTS = Path("tests")
HEAVY = ("torch", "keras", "pytest", "numpy", "hypothesis", "matplotlib.pyplot", "typer.testing")
"""What each child would otherwise import again; attn_core and the tests are not among them."""
MEMORY = 16 * 2**30
"""Bytes of addresses that a child may ask for."""


class Tree:
    """A copy of the package, in which a child may find a fault."""

    def __init__(self, source: Path, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.root = folder.resolve()
        for path in self.root.rglob("*.py"):  # a hash: two versions may have one time and size
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            py_compile.compile(str(path), invalidation_mode=mode)

    @contextlib.contextmanager
    def changed(self, module: str, source: str) -> Iterator[None]:
        """Hold another source of a module for a while."""
        path = self.root / module
        before = path.read_text(encoding="utf-8")
        path.write_text(source, encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")


def preload() -> None:
    """Import what every child needs, once."""
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["MPLBACKEND"] = "agg"
    os.environ["COVERAGE_CORE"] = "ctrace"  # which knows the test that runs
    for name in HEAVY:
        importlib.import_module(name)
    loaded = [name for name in sys.modules if name.split(".")[0] == "attn_core"]
    assert not loaded, f"The children must import attn_core themselves. Loaded: {loaded}"


def fork(work: Callable[[], int], tree: Tree, scratch: Path, log: Path, cpu: float) -> int:
    """Start a child that does some work and exits with its result; return its id."""
    if child := os.fork():
        return child
    status = 70
    try:
        os.setsid()  # so that what the child starts ends with it
        scratch.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        paths = {"ATTN_BUILD": scratch, "HYPOTHESIS_STORAGE_DIRECTORY": scratch / "hypothesis"}
        os.environ.update({name: str(path.resolve()) for name, path in paths.items()})
        os.environ["PYTHONPATH"] = str(tree.root)
        sys.path.insert(0, str(tree.root))
        sys.dont_write_bytecode = True
        import torch

        torch.set_num_threads(1)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(children: Iterable[int], deadlines: dict[int, float]) -> tuple[int, int]:
    """Wait until one of the children ends; return its id and its status as `subprocess` does.

    A child beyond its deadline is killed.
    """
    while True:
        for child in children:
            done, status = os.waitpid(child, os.WNOHANG)
            if not done and time.monotonic() > deadlines[child]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
                done, status = os.waitpid(child, 0)
            if done:
                with contextlib.suppress(ProcessLookupError):  # what the child has left behind
                    os.killpg(child, signal.SIGKILL)
                return child, os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
