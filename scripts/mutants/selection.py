"""Which tests matter to a line: those that run it, as coverage.py sees it."""

import hashlib
import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage
import pytest

from scripts.mutants.processes import TESTS, Tree, fork, wait

LIMIT = 7200
"""Seconds in which the tests of one file must end while they are recorded."""


@dataclass
class Selection:
    """What the tests run.

    Attributes:
        seconds: Seconds of processor time of each test that passes.
        lines: For each module, the tests that run each line inside a function.
        failed: Tests that fail without a fault. They find none.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def tests(self, module: str, line: int) -> list[str]:
        """Return the tests that run a line, the quickest first.

        A line outside of functions runs at the import: all tests that run any of the module.
        """
        lines = self.lines.get(module, {})
        names = lines.get(line) or {name for names in lines.values() for name in names}
        return sorted(names, key=lambda name: (self.seconds[name], name))


class Recorder:
    """A pytest plugin that notes what each test runs, and how much processor time it takes."""

    def __init__(self, root: Path) -> None:
        self.coverage = coverage.Coverage(data_file=None, config_file=False, source=[str(root)])
        self.seconds: dict[str, float] = {}
        self.outcomes: dict[str, set[str]] = defaultdict(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Tell coverage.py which test runs, and measure its time."""
        self.coverage.switch_context(item.nodeid)
        start = _processor_time()
        result = yield
        self.seconds[item.nodeid] = _processor_time() - start
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome."""
        self.outcomes[report.nodeid].add(report.outcome)

    def write(self, path: Path, root: Path) -> None:
        """Write what was noted as JSON."""
        data = self.coverage.get_data()
        lines = {
            Path(file).relative_to(root).as_posix(): data.contexts_by_lineno(file)
            for file in data.measured_files()
        }
        outcomes = {name: sorted(outcomes) for name, outcomes in self.outcomes.items()}
        content = {"seconds": self.seconds, "outcomes": outcomes, "lines": lines}
        path.write_text(json.dumps(content))


def _processor_time() -> float:
    """Return the seconds of this process and of its children that have ended.

    Unlike the time of a clock, they hardly depend on what else the machine does.
    """
    return sum(os.times()[:4])


def select(tree: Tree, folder: Path, tests: list[str], processes: int) -> Selection:
    """Return what the tests run.

    What was recorded of a file is kept until the file, the package or what all tests share changes.
    """
    shared = hashlib.sha256()
    common = [path for path in TESTS.rglob("*.py") if not path.name.startswith("test_")]
    for path in sorted([*tree.root.rglob("*.py"), *common, *TESTS.rglob("*.npz")]):
        shared.update(path.name.encode() + path.read_bytes())
    parts = {}
    for test in tests:
        digest = shared.copy()
        digest.update(Path(test).read_bytes())
        parts[test] = folder / f"selection-{Path(test).stem}-{digest.hexdigest()[:12]}.json"
    _record(
        tree, folder, {test: part for test, part in parts.items() if not part.exists()}, processes
    )
    return _merge(json.loads(part.read_text()) for part in parts.values())


def _record(tree: Tree, folder: Path, parts: dict[str, Path], processes: int) -> None:
    def work(test: str) -> int:
        recorder = Recorder(tree.root)
        recorder.coverage.start()
        options = ["-q", "-p", "no:cacheprovider", "-m", "not thorough"]  # as CI runs them
        status = pytest.main([*options, test], plugins=[recorder])
        recorder.coverage.stop()
        recorder.write(parts[test], tree.root)
        return int(status == pytest.ExitCode.INTERRUPTED or status > 5)

    waiting = list(parts)
    running: dict[int, str] = {}
    deadlines: dict[int, float] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            test = waiting.pop()
            name = Path(test).stem
            log = folder / f"record-{name}.log"
            child = fork(lambda test=test: work(test), tree, folder / f"scratch-{name}", log, LIMIT)
            running[child], deadlines[child] = test, time.monotonic() + LIMIT
        child, status = wait(running, deadlines)
        test = running.pop(child)
        if status:
            raise RuntimeError(f"{test} could not be recorded: see {folder}/record-*.log.")


def _merge(parts: Any) -> Selection:
    selection = Selection()
    for part in parts:
        for name, outcomes in part["outcomes"].items():
            if "failed" in outcomes:
                selection.failed.append(name)
            elif "skipped" not in outcomes:
                selection.seconds[name] = part["seconds"][name]
        for module, lines in part["lines"].items():
            mine = selection.lines.setdefault(module, {})
            for line, names in lines.items():
                passed = [name for name in names if name in selection.seconds]
                mine.setdefault(int(line), []).extend(passed)
    return selection
