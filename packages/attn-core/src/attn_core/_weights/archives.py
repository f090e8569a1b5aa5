"""Zip archives, .npz, .keras and .pt: checked before anything in them is unpacked."""

from pathlib import Path, PurePosixPath, PureWindowsPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

EXPANSION = 100
"""How many times its own size an archive may unpack to; Keras' own limit is the same."""

ALLOWED = 2**26
"""How many bytes any archive may unpack to: small files of equal numbers compress better."""


def check_archive(path: Path) -> None:
    """Raise a ValueError if an archive unpacks to too much or holds a path out of its folder.

    Args:
        path: The archive. If the file is no archive, `zipfile.BadZipFile` is raised.
    """
    with ZipFile(path) as archive:
        members = archive.infolist()
    for member in members:
        name = member.orig_filename  # before zipfile mends it
        parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
        if ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
            raise ValueError(f"its member {name!r} lies outside of the archive")
        if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # the sizes of others may lie
            raise ValueError(f"its member {name!r} is compressed in an unusual way")
    size = sum(member.file_size for member in members)
    if size > max(ALLOWED, EXPANSION * path.stat().st_size):
        raise ValueError(f"it unpacks to {size:,} bytes, more than {EXPANSION} times its own size")


def reason(error: Exception) -> str:
    """Return the first line of what a reader says, or the kind of an error that says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
