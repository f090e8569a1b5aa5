"""Folders that a command writes to."""

import os
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
