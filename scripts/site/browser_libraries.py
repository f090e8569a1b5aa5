"""Fetch the JavaScript libraries that the site ships, with npm, into build/npm/; they are kept.

python -m scripts.site.browser_libraries
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build" / "npm"


@dataclass(frozen=True)
class Library:
    """A package of npm's registry.

    Attributes:
        name: Its name there.
        version: The version that the site ships.
        integrity: The SHA-512 of that version's archive, as npm writes it.
        file: The file of the archive that the site loads.
        licence: Its licence, as SPDX names it.
        use: What the site does with it.
    """

    name: str
    version: str
    integrity: str
    file: str
    licence: str
    use: str

    @property
    def short(self) -> str:
        """Its name without the scope."""
        return self.name.rpartition("/")[2]

    @property
    def paths(self) -> tuple[Path, Path]:
        """Where the file and the text of its licence are kept."""
        start = FOLDER / f"{self.short}-{self.version}"
        return Path(f"{start}.js"), Path(f"{start}.LICENSE.txt")


LIBRARIES = (
    Library(
        name="d3",
        version="7.9.2",
        integrity="sha512-ZKb/mONPVKzaO5UlcWcwN8bS4ezvQaYu+bsou+XgNABdGC800kwH651ADTbbTxMPHW13UlvbQafdmJQDk1w7Mg==",
        file="dist/d3.min.js",
        licence="ISC",
        use="what Observable Plot is made of",
    ),
    Library(
        name="@observablehq/plot",
        version="0.6.17",
        integrity="sha512-/qaXP/7mc4MUS0s4cPPFASDRjtsWp85/TbfsciqDgU1HwYixbSbbytNuInD8AcTYC3xaxACgVX06agdfQy9W+g==",
        file="dist/plot.umd.min.js",
        licence="ISC",
        use="draws the charts",
    ),
)
"""In the order in which a page loads them."""


def fetch(library: Library) -> None:
    """Bring the file of a library and its licence into `FOLDER`, if they are not there yet.

    Raises:
        FileNotFoundError: If npm is not installed.
        ValueError: If the archive is not the expected one.
    """
    if all(path.exists() for path in library.paths):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("the site ships JavaScript libraries: install npm to fetch them.")
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"{library.name}@{library.version}"
        command = [npm, "pack", "--silent", "--pack-destination", folder, wanted]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).iterdir()
        unpack(library, archive)


def unpack(library: Library, archive: Path) -> None:
    """Put the file of a library and its licence into `FOLDER`, if the archive is the expected one.

    Raises:
        ValueError: If it is not.
    """
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{found}" != library.integrity:
        raise ValueError(
            f"the archive of {library.name} {library.version} must have the integrity "
            f"{library.integrity}. Received: sha512-{found}"
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as files:
        for name, path in zip((library.file, "LICENSE"), library.paths, strict=True):
            path.write_bytes(files.extractfile(f"package/{name}").read())


def copy(target: Path) -> None:
    """Copy all libraries into a folder of the site, under names without their versions."""
    target.mkdir(parents=True)
    for library in LIBRARIES:
        fetch(library)
        for path in library.paths:
            shutil.copy(path, target / path.name.replace(f"-{library.version}", ""))


if __name__ == "__main__":
    for one in LIBRARIES:
        fetch(one)
