"""Runs the tests that matter on each mutant."""

import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import pytest

from scripts.mutants.drawing import Mutant
from scripts.mutants.processes import Tree, fork, wait
from scripts.mutants.selection import Selection

CAUGHT, SURVIVED, BROKEN = 1, 0, 70
"""How a child ends."""
PATIENCE = 8
"""How much longer than its processor time a child may last, for other programs run too."""

Verdict = Literal["caught", "timeout", "stalled", "survived", "not run"]
FOUND = ("caught", "timeout")


@dataclass(frozen=True)
class Result:
    """What the tests said of a mutant.

    Attributes:
        verdict: "timeout" is a fault that a test found by computing far too long. "stalled" means
            that tests did not end and hardly computed: the machine may have been busy, so nothing
            was found. "not run" means that no test runs the line.
        test: The test that failed.
        seconds: Wall-clock time.
    """

    mutant: Mutant
    verdict: Verdict
    test: str = ""
    seconds: float = 0.0


class Only:
    """A pytest plugin that runs some of the tests, in a given order, and notes one that fails."""

    def __init__(self, tests: list[str], note: Path) -> None:
        self.order = {name: number for number, name in enumerate(tests)}
        self.note = note

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose and sort."""
        known = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(known, key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note a test that begins: with `-x` the last one is the one that failed."""
        self.note.write_text(nodeid)


class Runner:
    """Runs mutants, several at once.

    A child runs one file of tests after the other, those files first that have found most faults
    in the least time.
    """

    def __init__(
        self, selection: Selection, source: Path, folder: Path, budget: float, processes: int
    ) -> None:
        self.selection, self.folder, self.budget = selection, folder, budget
        self.trees = [Tree(source, folder / f"tree{number}") for number in range(processes)]
        self.found: dict[str, int] = defaultdict(int)

    def run(self, mutants: list[Mutant]) -> Iterator[Result]:
        """Yield the result of each mutant, in the order in which they are known."""
        waiting, free = list(reversed(mutants)), list(range(len(self.trees)))
        running: dict[int, tuple] = {}
        deadlines: dict[int, float] = {}
        while waiting or running:
            while waiting and free:
                mutant = waiting.pop()
                files = self._files(mutant)
                if not files:
                    yield Result(mutant, "not run")
                    continue
                slot, start = free.pop(), time.monotonic()
                change = self.trees[slot].changed(mutant.module, mutant.source)
                change.__enter__()
                child, limit = self._start(slot, files)
                running[child] = slot, mutant, change, start
                deadlines[child] = start + PATIENCE * limit
            if running:
                child, status = wait(list(running), deadlines)
                slot, mutant, change, start = running.pop(child)
                change.__exit__(None, None, None)
                free.append(slot)
                yield self._result(mutant, status, slot, time.monotonic() - start)

    def _files(self, mutant: Mutant) -> list[list[str]]:
        """Return the tests of a mutant by file: the quickest, as many as the budget allows."""
        tests, spent = [], 0.0
        for test in self.selection.tests(mutant.module, mutant.line):
            spent += self.selection.seconds[test]
            if tests and spent > self.budget:
                break
            tests.append(test)
        files = [list(names) for _, names in groupby(sorted(tests, key=_file), key=_file)]
        return sorted(files, key=lambda names: (-self.found[_file(names[0])], self._cost(names)))

    def _cost(self, names: list[str]) -> float:
        return sum(self.selection.seconds[name] for name in names)

    def _start(self, slot: int, files: list[list[str]]) -> tuple[int, float]:
        note = self.folder / f"failed{slot}"
        options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", "--assert=plain"]

        def work() -> int:
            result = BROKEN
            for names in files:
                status = pytest.main([*options, _file(names[0])], plugins=[Only(names, note)])
                if status == pytest.ExitCode.NO_TESTS_COLLECTED:
                    continue  # parameters that this process names otherwise
                if status != pytest.ExitCode.OK:
                    return CAUGHT
                result = SURVIVED
            return result

        note.write_text("at the import")
        limit = 60 + 4 * sum(map(self._cost, files))
        scratch, log = self.folder / f"scratch{slot}", self.folder / f"mutant{slot}.log"
        return fork(work, self.trees[slot], scratch, log, limit), limit

    def _result(self, mutant: Mutant, status: int, slot: int, seconds: float) -> Result:
        if status == SURVIVED:
            return Result(mutant, "survived", seconds=seconds)
        if status == BROKEN:
            log = (self.folder / f"mutant{slot}.log").read_text(errors="replace")
            raise RuntimeError(f"The tests did not start for {mutant.change!r}:\n{log[-2000:]}")
        test = (self.folder / f"failed{slot}").read_text()
        ends: dict[int, Verdict] = {-signal.SIGXCPU: "timeout", -signal.SIGKILL: "stalled"}
        verdict = ends.get(status, "caught")
        self.found[_file(test)] += verdict in FOUND
        return Result(mutant, verdict, test, seconds)


def _file(test: str) -> str:
    return test.split("::")[0]
