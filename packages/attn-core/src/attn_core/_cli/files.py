"""The files that a command reads, the folders that it writes to."""

import os
from pathlib import Path

import typer

TORCH_FILES = (".pt", ".pth", ".pth.tar", ".bin", ".ckpt")
"""The endings of the files that PyTorch reads."""


def usable_folder(folder: Path, create: bool = True) -> Path:
    """Return a folder that can be written to; if not `create`, it must exist."""
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
