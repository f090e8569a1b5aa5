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
        files: The files of the archive that the site loads, each of another type.
        licence: Its licence, as SPDX names it.
        use: What the site does with it.
        licence_text: The text of its licence, if the archive has none.
    """

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]
    licence: str
    use: str
    licence_text: Path | None = None

    @property
    def short(self) -> str:
        """Its name without the scope."""
        return self.name.rpartition("/")[2]

    @property
    def kept(self) -> dict[str, Path]:
        """Where each file of the archive is kept."""
        start = FOLDER / f"{self.short}-{self.version}"
        return {file: Path(f"{start}{Path(file).suffix}") for file in self.files}

    @property
    def licence_file(self) -> Path:
        """Where the text of its licence is kept."""
        return FOLDER / f"{self.short}-{self.version}.LICENSE.txt"

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that is kept."""
        return *self.kept.values(), self.licence_file

    @property
    def size(self) -> int:
        """The bytes of what a page loads."""
        return sum(path.stat().st_size for path in self.kept.values())


LIBRARIES = (
    Library(
        name="d3",
        version="7.9.2",
        integrity="sha512-ZKb/mONPVKzaO5UlcWcwN8bS4ezvQaYu+bsou+XgNABdGC800kwH651ADTbbTxMPHW13UlvbQafdmJQDk1w7Mg==",
        files=("dist/d3.min.js",),
        licence="ISC",
        use="what Observable Plot is made of",
    ),
    Library(
        name="@observablehq/plot",
        version="0.6.17",
        integrity="sha512-/qaXP/7mc4MUS0s4cPPFASDRjtsWp85/TbfsciqDgU1HwYixbSbbytNuInD8AcTYC3xaxACgVX06agdfQy9W+g==",
        files=("dist/plot.umd.min.js",),
        licence="ISC",
        use="draws the charts",
    ),
    Library(
        name="onnxruntime-web",
        version="1.30.0",
        integrity="sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        # Without WebGPU: half as large. One thread needs no special headers from the server.
        files=("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"),
        licence="MIT",
        use="runs the networks of the playground",
        licence_text=Path(__file__).with_name("onnxruntime-web.LICENSE.txt"),
    ),
)
"""In the order in which a page loads them."""


def fetch(library: Library) -> None:
    """Bring the files of a library and its licence into `FOLDER`, if they are not there yet.

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
    """Put the files of a library and its licence into `FOLDER`, if the archive is the expected one.

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
        for name, path in library.kept.items():
            path.write_bytes(files.extractfile(f"package/{name}").read())
        own = library.licence_text
        text = own.read_bytes() if own else files.extractfile("package/LICENSE").read()
        library.licence_file.write_bytes(text)


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
