"""Run the layers and their peers, each in a process of its own, by turns."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.cases import CASES, Case
from benchmarks.peers.results import STEPS, best, ratios

ROOT = Path(__file__).parents[2]
BACKENDS = ("jax", "tensorflow", "torch")


class Worker:
    """A process that times one side, ours or the peers', on one backend."""

    def __init__(self, python: str, side: str, backend: str):
        self.name, self.log = f"{side} on {backend}", tempfile.TemporaryFile("w+")  # noqa: SIM115
        env = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python, "-m", "benchmarks.peers.worker", side]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, stderr=self.log, text=True
        )

    def ask(self, **request: object) -> object:
        """Return the answer to a request, a ValueError that says why there is none."""
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{self.name} ended:\n{self.log.read()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{self.name}, {request}: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Turns:
    """The workers, which start when they are first asked, and the turns that they take."""

    def __init__(self, backends: list[str], peer_python: str, rounds: int, seconds: float):
        self.backends, self.peer_python = backends, peer_python
        self.rounds, self.seconds = rounds, seconds
        self.workers: dict[tuple[str, str], Worker] = {}
        self.failures: list[str] = []

    def __enter__(self) -> "Turns":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.close()

    def worker(self, side: str, backend: str) -> Worker:
        """Return the worker of a side and a backend."""
        python = self.peer_python if side == "peer" and backend == "torch" else sys.executable
        if (side, backend) not in self.workers:
            self.workers[side, backend] = Worker(python, side, backend)
        return self.workers[side, backend]

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that the workers run."""
        workers = [self.worker("ours", name) for name in self.backends]
        found = {}
        for worker in (*workers, self.worker("peer", "torch")):
            found |= worker.ask(ask="versions")
        return found

    def difference(self, case: Case) -> float | None:
        """Return how far the outputs of a case differ, `None` where they cannot be compared."""
        try:
            return float(f"{self.worker('peer', 'torch').ask(ask='difference', case=case.key):.1e}")
        except ValueError as error:
            self.failures.append(str(error))
            return None

    def times(self, case: Case, step: str) -> dict[str, dict[str, float]]:
        """Return the milliseconds of a step, by side and backend; all take turns in each round."""
        where = self.backends if case.library == "keras" else ["torch"]
        sides = [("peer", name) for name in where] + [("ours", name) for name in self.backends]
        rounds = {side: [] for side in sides}
        for _ in range(self.rounds):
            for side in list(rounds):
                request = {"case": case.key, "step": step, "seconds": self.seconds}
                try:
                    rounds[side].append(self.worker(*side).ask(ask="times", **request))
                except ValueError as error:
                    self.failures.append(str(error))
                    del rounds[side]
        found = {"peer": {}, "ours": {}}
        for (side, backend), measured in rounds.items():
            found[side][backend] = round(best(measured), 4)
        return found

    def rows(self, case: Case) -> list[dict]:
        """Return what is measured of a case, a row for each step."""
        about = {
            "layer": case.layer,
            "arguments": case.arguments,
            "peer": case.peer,
            "shape": case.shape,
            "difference": self.difference(case),
        }
        measured = {step: self.times(case, step) for step in STEPS}
        return [
            about | {"step": step, "ms": times} | {"ratios": ratios(times["peer"], times["ours"])}
            for step, times in measured.items()
        ]


def chosen(text: str, among: list[str], what: str) -> list[str]:
    """Return the names that an option lists, all without; a layer's name means all its cases."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    known = {name: name.partition("@")[0].partition(":")[0] for name in among}
    unknown = [name for name in wanted if name not in {*known, *known.values()}]
    if unknown:
        raise ValueError(f"{what}: expected some of {', '.join(among)}. Received: {unknown}")
    return [name for name in among if not wanted or {name, known[name]} & {*wanted}]


def cases(text: str) -> list[Case]:
    """Return the cases that an option names."""
    return [CASES[name] for name in chosen(text, list(CASES), "--cases")]
