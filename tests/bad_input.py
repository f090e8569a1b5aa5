"""What kinds of bad input the tests hand over, and how many of them were refused as documented.

python tests/bad_input.py       run these tests; tests/conftest.py keeps the counts in build/
"""

import json
import sys
from pathlib import Path

KINDS = {
    "Whole numbers: zero, negative, fractions, text, NaN, flags": (
        "test_errors.py::test_integer_arguments",
        "test_errors.py::test_zero",
    ),
    "Numbers: NaN, infinite, text, None, outside of their range": (
        "test_errors.py::test_numbers",
        "test_errors.py::test_dropout",
    ),
    "Flags that are neither True nor False": ("test_errors.py::test_flags",),
    "`data_format` of another name": ("test_errors.py::test_unknown_data_format",),
    "Arguments of one mechanism, widths that do not divide": (
        "test_errors.py::test_unknown_argument",
        "test_errors.py::test_particular",
    ),
    "Inputs of another rank, or of no shape": (
        "test_errors.py::test_wrong_rank",
        "test_errors.py::test_shapes_of_no_numbers",
        "test_query.py::test_bad_inputs",
    ),
    "Channels that are unknown or zero": ("test_errors.py::test_unknown_channels",),
    "Inputs of whole or complex numbers, text, None, empty": (
        "test_errors.py::test_inputs",
        "test_errors.py::test_empty_inputs",
        "test_errors.py::test_nothing_is_built",
    ),
    "Another input than the layer was built for": (
        "test_errors.py::test_another_input_after_build",
    ),
    "Masks and weights of another shape": (
        "test_query.py::test_bad_masks",
        "test_errors.py::test_masks",
    ),
    "Arguments of networks": (
        "test_models.py::test_bad_arguments",
        "test_errors.py::test_networks",
    ),
    "Arguments of the tools": (
        "test_errors.py::test_tools",
        "test_insertion.py::test_errors",
        "test_maps.py::test_bad_arguments",
        "test_maps.py::test_no_such_head_or_query",
        "test_profile.py::test_bad_arguments",
        "test_layout_map.py::test_bad_input",
        "test_compat.py::test_wrong_arguments",
        "test_compare.py::test_bad_arguments",
    ),
    "Weights that do not fit": (
        "test_weights.py::test_every_problem",
        "test_weights.py::test_one_misshapen",
        "test_weights.py::test_bad_sources",
        "test_weights.py::test_unbuilt",
        "test_archives.py::test_bad_entries",
        "test_archives.py::test_no_",
    ),
    "Broken and hostile `.npz` and `.safetensors`": (
        "test_archives.py::test_broken_weights",
        "test_archives.py::test_archives_are_judged",
        "test_weights.py::test_pickles",
        "test_weights.py::test_broken",
    ),
    "Broken and hostile `.keras`": (
        "test_archives.py::test_broken_models",
        "test_archives.py::test_models_are_judged",
    ),
    "Broken and hostile `.pt` and `.pth`": ("test_archives.py::test_broken_checkpoints",),
    "Commands": (
        "test_commands.py::test_maps_of_wrong_input",
        "test_commands.py::test_convert_of_wrong_input",
        "test_commands.py::test_show_nothing",
        "test_commands.py::test_list_of_no_such_family",
    ),
}
"""By kind: how the tests begin that hold its cases."""


def count(passed: list[str]) -> dict[str, int]:
    """Return the number of cases of each kind among the tests that passed, given by their ids."""
    split = (test.split("::", 1) for test in passed)
    names = [f"{Path(file).name}::{name}" for file, name in split]
    return {kind: sum(name.startswith(tests) for name in names) for kind, tests in KINDS.items()}


def write(folder: Path, backend: str, passed: list[str]) -> None:
    """Keep the counts of the kinds that a test run held, beside those of earlier runs."""
    path = folder / f"{backend}.json"
    counts = json.loads(path.read_text()) if path.exists() else {}
    counts |= {kind: number for kind, number in count(passed).items() if number}
    if counts:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(counts, indent=1))


def main() -> int:
    """Run the tests of all kinds, one process a core; return pytest's exit code."""
    import pytest

    tests = [test.split("::") for kind in KINDS.values() for test in kind]
    files = dict.fromkeys(f"tests/{file}" for file, _ in tests)
    names = " or ".join(name for _, name in tests)
    return pytest.main(["-q", "-n", "auto", "--dist", "loadgroup", *files, "-k", names])


if __name__ == "__main__":
    sys.exit(main())
