"""A kill leaves the old file or the new one."""

import random
import subprocess
import sys
import time

import pytest
from attn_core._tools import files

WRITER = """
import runpy, sys, time
from pathlib import Path
replacing = runpy.run_path(sys.argv[1])["replacing"]
path = Path(sys.argv[2])
for number in range(1, 10**6):
    with replacing(path) as unfinished:
        unfinished.write_text(f"{number}\\n" * 100_000)
        print(number, flush=True)
        time.sleep(float(sys.argv[3]))
"""


def write_until_killed(path, pause):
    """Start to replace a file, over and over; return the process when it first wrote one."""
    command = [sys.executable, "-c", WRITER, files.__file__, str(path), str(pause)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "1\n"
    return writer


def kill(writer):
    writer.kill()
    writer.wait()
    writer.stdout.close()


def test_a_kill_before_the_replacement_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.npz"
    path.write_text("old")
    kill(write_until_killed(path, pause=60))
    assert path.read_text() == "old"


@pytest.mark.parametrize("seed", range(5))
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path, seed):
    path = tmp_path / "table.csv"
    path.write_text("0\n" * 100_000)
    writer = write_until_killed(path, pause=0)
    time.sleep(random.Random(seed).uniform(0, 0.2))
    kill(writer)
    lines = path.read_text().splitlines()
    assert len(lines) == 100_000
    assert len(set(lines)) == 1
