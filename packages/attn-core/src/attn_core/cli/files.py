"""Files that a command reads and writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


def usable_folder(folder: Path, create: bool = True) -> Path:
    """Return a folder that can be written to; it is made, or has to be there."""
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} cannot be written to")
    except OSError as error:
        raise typer.BadParameter(f"the output folder cannot be used: {error}") from error
    return folder


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what lies there then becomes `path`, unless writing it failed."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
