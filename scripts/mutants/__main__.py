"""Plant faults in attn_core and see whether the tests find them: `nox -s mutants`.

The copies of the package, the logs and all results go to build/mutants/; with `--keep` the summary
goes to docs/data/mutants.json, which the documentation shows.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.mutants.drawing import Mutant, draw
from scripts.mutants.processes import Tree, preload
from scripts.mutants.report import BOUND, KEPT, summarize, table
from scripts.mutants.running import FOUND, Result, Runner
from scripts.mutants.selection import select

PACKAGE = Path("packages/attn-core/src")
FOLDER = Path("build/mutants")
RESULTS = FOLDER / "results.json"


def main() -> int:
    """Draw, run, report; return 1 where too few faults were found."""
    options = _options()
    start = time.monotonic()
    FOLDER.mkdir(parents=True, exist_ok=True)
    preload()
    tests = options.tests or sorted(map(str, Path("tests").glob("test_*.py")))
    selection = select(Tree(PACKAGE, FOLDER / "tree"), FOLDER, tests, options.processes)
    print(f"{len(selection.seconds)} tests, {time.monotonic() - start:.0f} s to see what they run")
    for name in selection.failed:
        print(f"  fails without a fault: {name}")
    if selection.failed:
        return 1

    mutants = draw(PACKAGE, options.count, options.seed, options.only, options.operators)
    results = _found(mutants) if options.again else []
    done = {result.mutant for result in results}
    left = [mutant for mutant in mutants if mutant not in done]
    runner = Runner(selection, PACKAGE, FOLDER, options.budget, options.processes)
    if not results:
        _control(runner, left)
    for result in runner.run(left):
        results.append(result)
        _show(len(results), result)
        RESULTS.write_text(json.dumps([_line(result) for result in results], indent=1))

    print(dict(Counter(result.verdict for result in results)), f"{time.monotonic() - start:.0f} s")
    content = summarize(results, {"seed": options.seed, "backend": "torch"})
    (FOLDER / "table.md").write_text(table(content) + "\n")
    if options.keep:
        KEPT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    harmful = content["mutants"] - content["harmless"]
    share = content["caught"] / harmful
    print(f"{content['caught'] / content['mutants']:.1%} of {content['mutants']} mutants caught")
    print(f"{share:.1%} of the {harmful} that are not harmless; at least {BOUND:.0%} is wanted")
    return int(share < BOUND)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--count", type=int, default=400, help="number of mutants")
    add("--seed", type=int, default=12, help="seed of the draw")
    add("--only", default="", help="draw from modules whose path has this text")
    add("--operators", default="", help="draw of operators whose name has this text")
    add("--budget", type=float, default=60, help="seconds of tests for a mutant")
    add("--processes", type=int, default=os.cpu_count() or 1, help="how many at once")
    add("--again", action="store_true", help=f"keep the caught ones of {RESULTS}, run the others")
    add("--keep", action="store_true", help=f"write {KEPT}")
    add("tests", nargs="*", help="files of tests, all by default")
    return parser.parse_args()


def _found(mutants: list[Mutant]) -> list[Result]:
    """Return what the last run found of the mutants."""
    lines = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    verdicts = {_key(line["mutant"]): line for line in lines if line["verdict"] in FOUND}
    return [
        Result(mutant, line["verdict"], line["test"], line["seconds"])
        for mutant in mutants
        if (line := verdicts.get(_key(asdict(mutant))))
    ]


def _key(mutant: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(mutant[name]) for name in ("module", "line", "operator", "before", "after"))


def _line(result: Result) -> dict[str, Any]:
    line = asdict(result)
    del line["mutant"]["source"]
    return line


def _show(number: int, result: Result) -> None:
    mutant = result.mutant
    place = f"{mutant.module}:{mutant.line}"
    print(f"{number:4} {result.verdict:8} {result.seconds:5.1f} s {place} {result.test}")
    if result.verdict not in FOUND:
        print(f"     {mutant.operator}: {mutant.change}")
    sys.stdout.flush()


def _control(runner: Runner, mutants: list[Mutant]) -> None:
    """Run tests without a fault: all must pass, or the verdicts mean nothing."""
    first = {mutant.module.split("/")[1]: mutant for mutant in mutants}
    controls = []
    for mutant in first.values():
        source = (PACKAGE / mutant.module).read_text(encoding="utf-8")
        controls.append(Mutant(mutant.module, mutant.line, "none", "", "", source))
    for result in runner.run(controls):
        if result.verdict not in ("survived", "not run"):
            raise RuntimeError(f"Without a fault, {result.test} failed in {result.mutant.module}")


if __name__ == "__main__":
    sys.exit(main())
