"""Run the tutorials from top to bottom, as notebooks, and keep what they print and draw.

nox -s tutorials                           those whose code has changed since their last run
nox -s "tutorials(torch)" -- see_it_help   the named ones
"""

import base64
import importlib
import json
import os
import sys
import tempfile

import keras
import nbclient
from nbformat import NotebookNode

from scripts.site import tutorials
from scripts.site.recorded_results import BACKENDS

LIMIT = 300
"""Seconds for one cell, on a slow machine."""
BACKEND = keras.config.backend()
PACKAGES = {"Keras": "keras", BACKENDS[BACKEND]: BACKEND}


def run(notebook: NotebookNode) -> float:
    """Fill in the outputs of a notebook; return the seconds of processor time that it took.

    Other than seconds of a clock, they hardly depend on what else the machine does.
    """
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = nbclient.NotebookClient(notebook, timeout=LIMIT, resources=resources)
        before = processor_seconds()
        client.execute()
        return processor_seconds() - before


def processor_seconds() -> float:
    """Return the processor time of all processes that this one started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def keep(name: str, notebook: NotebookNode, seconds: float) -> None:
    """Write what a run left: its texts to one file, its pictures to one each."""
    for old in tutorials.FOLDER.glob(f"{name}_*.png"):
        old.unlink()
    pictures, outputs = 0, []
    for cell in tutorials.code_of(notebook):
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stdout":
                if kept and "text" in kept[-1]:
                    kept[-1]["text"] += output.text
                else:
                    kept.append({"text": output.text})
            elif picture := output.get("data", {}).get("image/png"):
                pictures += 1
                path = tutorials.FOLDER / f"{name}_{pictures}.png"
                path.write_bytes(base64.b64decode(picture))
                kept.append({"picture": path.name})
        outputs.append(kept)
    content = {
        "code": tutorials.checksum(notebook),
        "seconds": round(seconds),
        "versions": {
            library: importlib.import_module(package).__version__
            for library, package in PACKAGES.items()
        },
        "outputs": outputs,
    }
    path = tutorials.FOLDER / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def is_current(name: str) -> bool:
    """Return whether the code of a tutorial is that of its last run."""
    known = (tutorials.FOLDER / f"{name}.json").exists()
    return known and tutorials.run_of(name)["code"] == tutorials.checksum(tutorials.source(name))


def main(named: list[str]) -> None:
    """Run the named tutorials, or those that have changed, of this process' backend."""
    names = [one for one in tutorials.NAMES if tutorials.backend(one) == BACKEND]
    if unknown := set(named) - set(names):
        known, given = ", ".join(names), ", ".join(sorted(unknown))
        raise ValueError(f"On {BACKEND}, name some of {known}. Received: {given}")
    for name in named or [one for one in names if not is_current(one)]:
        notebook = tutorials.source(name)
        seconds = run(notebook)
        keep(name, notebook, seconds)
        print(f"{name}, {seconds:.0f} seconds: {tutorials.result(name)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
