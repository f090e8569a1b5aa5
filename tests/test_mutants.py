"""The faults that `nox -s mutants` plants. Other sessions lack cosmic-ray, and skip this file."""

from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="nox -s mutants alone installs cosmic-ray")

from cosmic_ray.mutating import mutate_code

from scripts.mutants import drawing, operators, report
from scripts.mutants.drawing import Mutant
from scripts.mutants.running import Result

OURS = [
    operators.ReplaceReduction,
    operators.ReplaceFunction,
    operators.ReplaceText,
    operators.ForgetUpcast,
    operators.ReplaceFlag,
]
SOURCE = '''"""A module of 2 lines."""
from keras import ops
__all__ = ["f", "g"][0:2]

@register(package="a", number=1)
def f(x: Array[3], *, axis: int | None = 1, unread=False) -> Array[3]:
    """Return 1 + 1."""
    if axis > 3:
        raise ValueError(f"axis={axis + 1}", 7, draw(linewidth=1.5))
    return ops.mean(x, axis=axis, keepdims=True)

def _jax(x):
    return x + 1
'''


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_examples(kind):
    for example in kind.examples():
        changed = mutate_code(example.pre_mutation_code, kind(), example.occurrence)
        assert changed == example.post_mutation_code


def write(folder: Path) -> Path:
    path = folder / "attn_core" / "layers" / "m.py"
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE)
    return folder


def test_what_may_be_changed(tmp_path):
    """Comparison, numbers, flag and reduction, but no annotation, decorator, text or error."""
    changed = {mutant.line: set() for mutant in drawing.draw(write(tmp_path), 1000, 0)}
    for seed in range(40):
        for mutant in drawing.draw(tmp_path, 1000, seed):
            changed.setdefault(mutant.line, set()).add(mutant.after)
    assert set(changed) == {6, 8, 10}
    assert all("axis: int | None = " in line and "Array[3]) ->" not in line for line in changed[6])
    defaults = {line.split("axis: int | None")[1].replace("  ", " ") for line in changed[6]}
    assert defaults == {f" = {n}, unread=False) -> Array[3]:" for n in (0, 2)}
    assert "return ops.max(x, axis=axis, keepdims=True)" in changed[10]
    assert "return ops.mean(x, axis=axis, keepdims=False)" in changed[10]
    assert "if axis >= 3:" in changed[8]
    assert "if not axis > 3:" in changed[8]


def test_a_seed_draws_the_same(tmp_path):
    root = write(tmp_path)
    assert drawing.draw(root, 3, 5) == drawing.draw(root, 3, 5)
    assert drawing.draw(root, 3, 5) != drawing.draw(root, 3, 6)
    places = [(mutant.line, mutant.before) for mutant in drawing.draw(root, 3, 5)]
    assert len(places) == 3


def test_harmless_survivors_are_counted_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "HARMLESS", tmp_path / "harmless.json")
    report.HARMLESS.write_text('{"_ops/a.py": {"x | y -> z": "same"}}')

    def result(verdict, module, before):
        return Result(Mutant(f"attn_core/{module}", 1, "", before, "z", ""), verdict)

    content = report.summarize(
        [
            result("caught", "_ops/a.py", "a"),
            result("timeout", "_ops/a.py", "b"),
            result("survived", "_ops/a.py", "x | y"),
            result("not run", "_ops/b.py", "c"),
            result("stalled", "_ops/b.py", "d"),
        ],
        {"seed": 1},
    )
    found = [content[key] for key in ("mutants", "caught", "timeout", "harmless")]
    assert found == [5, 2, 1, 1]
    assert report.table(content).splitlines()[2:] == [
        "| `_ops/a.py` | 3 | 2 | 1 | `x \\| y -> z`: same |",
        "| `_ops/b.py` | 2 | 0 | 0 | `c -> z`: <br>`d -> z`:  |",
        "| together | 5 | 2 | 1 | |",
    ]
