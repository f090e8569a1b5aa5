"""Write a reference vector: `python -m scripts.golden module.py:make name_of_the_case`."""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")


def main() -> int:
    """Return 1 where the vector is refused."""
    import argparse
    import importlib.util

    from scripts import golden
    from scripts.golden.vector import TESTS

    parser = argparse.ArgumentParser(
        prog="golden",
        description=golden.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="file and function that returns a Source: module.py:make")
    parser.add_argument("case", help="name of the case: se_attention__default")
    parser.add_argument("--folder", type=Path, default=TESTS / "golden", help="where it is written")
    options = parser.parse_args()
    file, _, function = options.source.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        parser.error(f"{file!r} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(file).parent))
    spec.loader.exec_module(module)
    path = options.folder / f"{options.case}.npz"
    try:
        checked = golden.write(getattr(module, function)(), path)
    except golden.RefusedError as refused:
        print(f"Refused: {refused}", file=sys.stderr)
        return 1
    print("\n".join([*checked, f"written: {path}"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
