"""Run a worker: a script in processes of its own, each of which prints what it found as JSON."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras


def launch(script: str, *arguments, processes: int = 1, timeout: float = 500) -> list[dict]:
    """Run a script of this folder in one process, or in several that talk over loopback.

    Each finds its number in the variable RANK, and in PORTS a free port for each of them.

    Args:
        script: Name of the file.
        *arguments: Command line.
        processes: How many.
        timeout: Seconds after which all are killed.

    Returns:
        The last line that each printed, parsed.
    """
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    environment = {**os.environ, "KERAS_BACKEND": keras.config.backend()}
    environment["PORTS"] = ",".join(free_ports(processes))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(rank)) for rank in range(processes)]
        workers = [start(command, {**environment, "RANK": path.name}, path) for path in paths]
        codes = wait(workers, timeout)
        texts = [path.read_text() for path in paths]
    assert codes == [0] * processes, f"{codes}\n" + "\n".join(text[-3000:] for text in texts)
    return [json.loads(text.splitlines()[-1]) for text in texts]


def start(command: list[str], environment: dict, path: Path) -> subprocess.Popen:
    """Start a process that writes what it prints to a file."""
    with path.open("w") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


def wait(workers: list[subprocess.Popen], timeout: float) -> list[int]:
    """Wait until all have ended, or one has failed, or it is late; return their codes."""
    late = time.monotonic() + timeout
    try:
        while any(worker.poll() is None for worker in workers) and time.monotonic() < late:
            if any(worker.poll() for worker in workers):
                break
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
    return [worker.wait() for worker in workers]


def free_ports(count: int) -> list[str]:
    """Return ports that nothing listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
