"""The benchmark against other libraries: its cases, its arithmetic, its page."""

import importlib
import json
from dataclasses import replace

import attn_core
import keras
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.peers import cases, modules, results, turns
from scripts.site import peer_times
from scripts.site.recorded_results import BACKENDS

CASES = cases.CASES
BUILT_HERE = [case for case in CASES.values() if case.library in ("torch", "keras")]
ROW = {"layer": "SEAttention", "peer": "timm.layers.SEModule", "shape": [8, 14, 14, 256]}
MEASURED = {
    "machine": "a machine",
    "versions": {"keras": "3"},
    "seconds": 0.3,
    "rounds": 3,
    "rows": [
        ROW
        | {"step": step, "arguments": {}, "difference": 1e-7, "ratios": {"jax": 4.0, "torch": 0.5}}
        | {"ms": {"peer": {"torch": 1.0}, "ours": {"jax": 0.25, "torch": 2.0}}}
        for step in results.STEPS
    ],
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_layer_of_a_case(case):
    layer = getattr(attn_core, case.layer)(**case.arguments)
    layer.build(case.shape)
    assert layer.compute_output_shape(case.shape)[0] == case.shape[0]
    assert case.call in modules.CALLS
    assert case.library in ("timm", "torch", "keras")


def test_no_case_hides_another():
    every = [*cases.gates(), *cases.images(), *cases.tokens()]
    assert [case.key for case in every] == list(CASES)
    assert set(modules.BUILDERS) | set(modules.RENAMED) <= {case.peer for case in every}


@pytest.fixture
def worker():
    if keras.config.backend() != "torch":
        pytest.skip("the outputs are compared on PyTorch")
    return importlib.import_module("benchmarks.peers.worker")


@pytest.mark.parametrize("case", BUILT_HERE, ids=lambda case: case.peer)
def test_the_worker_compares_and_times(case, worker):
    assert worker.difference(case) < 1e-5
    for step in results.STEPS:
        request = {"ask": "times", "case": case.key, "step": step, "seconds": 0}
        for side in ("ours", "peer"):
            assert all(time > 0 for time in worker.answer(side, request, {}))


def test_a_difference_is_found(worker):
    case = replace(CASES["ScaledDotProductAttention:torch@8x196x256"], arguments={"num_heads": 4})
    assert worker.difference(case) > 1e-3


def test_ratios():
    assert results.best([[5, 2], [1, 3], [1, 9]]) == 1
    assert results.best([[5, 2], [4, 2], [1, 9]]) == 2
    ours = {"jax": 0.5, "torch": 4.0}
    assert results.ratios({"torch": 2.0}, ours) == {"jax": 4.0, "torch": 0.5}
    assert results.ratios({"jax": 1.0, "torch": 2.0}, ours) == {"jax": 2.0, "torch": 0.5}
    assert results.ratios({}, ours) == {}
    assert results.geometric_mean([0.5, 8.0]) == pytest.approx(2)


def test_cases_are_chosen_by_layer_or_key():
    assert len(turns.cases("")) == len(CASES)
    assert [case.key for case in turns.cases("MBConv, SEAttention@4x56x56x64")] == [
        "SEAttention@4x56x56x64",
        "MBConv@8x14x14x256",
    ]
    with pytest.raises(ValueError, match=r"--cases: expected some of .*Received: \['SE'\]"):
        turns.cases("SE,MBConv")


class Scripted:
    """A worker that answers what a test says."""

    broken = ""

    def __init__(self, python, side, backend):
        self.side, self.backend = side, backend

    def ask(self, ask, **_):
        if self.backend == self.broken:
            raise ValueError("it cannot")
        times = [3.0, {"ours": 1.0, "peer": 2.0}[self.side]]
        return {"versions": {}, "difference": 0.0, "times": times}[ask]

    def close(self):
        pass


def test_what_one_worker_cannot_do_leaves_the_others(monkeypatch):
    monkeypatch.setattr(turns, "Worker", Scripted)
    monkeypatch.setattr(Scripted, "broken", "tensorflow")
    with turns.Turns(["jax", "tensorflow"], "python", rounds=2, seconds=0) as workers:
        forward, training = workers.rows(CASES["SEAttention@8x14x14x256"])
    assert forward["ms"] == {"peer": {"torch": 2.0}, "ours": {"jax": 1.0}}
    assert training["ratios"] == {"jax": 2.0}
    assert workers.failures == ["it cannot"] * 2


@pytest.mark.parametrize(
    ("before", "after"), [(None, None), ("It is busy.", None), (None, "It is busy.")]
)
def test_only_an_idle_machine_keeps_its_times(before, after, monkeypatch, tmp_path):
    complaints = iter([before, after])
    monkeypatch.setattr("benchmarks.machine.complaint", lambda: next(complaints))
    monkeypatch.setattr(turns, "Worker", Scripted)
    monkeypatch.setattr(results, "KEPT", tmp_path / "kept.json")
    found = CliRunner().invoke(app, ["peers", "--keep", "--out", str(tmp_path)])
    idle = before is after is None
    assert found.exit_code == (0 if idle else 1)
    assert ("It is busy." in found.output) == (not idle)
    assert results.KEPT.exists() == idle
    assert (tmp_path / "peers.json").exists() == (before is None)


@pytest.mark.parametrize("options", [["--cases", "CBAM"], ["--backends", "jax"]])
def test_a_part_is_not_kept(options):
    found = CliRunner().invoke(app, ["peers", "--keep", *options])
    assert found.exit_code == 2
    assert "--keep measures all cases" in found.output


def test_page(monkeypatch, tmp_path):
    (tmp_path / "peers.md").write_text("# Title\n")
    monkeypatch.setattr(peer_times, "KEPT", tmp_path / "peers.json")
    peer_times.write(tmp_path)
    assert peer_times.UNMEASURED in (tmp_path / "peers.md").read_text()
    assert not (tmp_path / peer_times.PICTURE).exists()
    peer_times.KEPT.write_text(json.dumps(MEASURED))
    peer_times.write(tmp_path)
    page = (tmp_path / "peers.md").read_text()
    assert "Measured on a machine, with keras 3: the median of 3 rounds" in page
    assert "| Forward pass | 4.00 (0 of 1) |  | 0.50 (1 of 1) |" in page
    row = "| `SEAttention` | 8x14x14x256 | 1 | 0.25 (4.00) |  |"
    assert f"{row} 2 (0.50) | 1e-07 | `timm.layers.SEModule` |" in page
    assert (tmp_path / peer_times.PICTURE).stat().st_size > 1000


def test_page_of_the_authors(monkeypatch, tmp_path):
    """A mechanism that the library did not have before has no times of then, and its own means."""
    times = {"ms": 1.0, "now": dict.fromkeys(BACKENDS, 0.5)}
    old = {"layer": "SEAttention", "arguments": {}, "peer": "timm"} | times
    new = {"layer": "SimAM", "arguments": {"epsilon": 0.1}, "peer": "timm"} | times
    rows = [old | {"before": dict.fromkeys(BACKENDS, 2.0)}, new | {"ms": 0.25}]
    every = [row | {"step": step} for step in results.STEPS for row in rows]
    monkeypatch.setattr(peer_times, "AUTHORS", tmp_path / "authors.json")
    peer_times.AUTHORS.write_text(json.dumps(MEASURED | {"rows": every}))
    page = peer_times.against_authors()
    for title in peer_times.TITLES.values():
        for group, mean, below in (("before", 0.5, 1), ("now", 2, 0), ("new mechanisms", 0.5, 1)):
            cells = " | ".join([f"{mean:.2f} ({below})"] * 4)
            assert f"| {title}, {group} | {cells} |" in page
    cells = " | ".join(["0.5 (2.00)"] * 3)
    assert f"| `SEAttention` | 1 | {cells} | 0.50 | 2.00 | timm |" in page
    cells = " | ".join(["0.5 (0.50)"] * 3)
    assert f"| `SimAM(epsilon=0.1)` | 0.25 | {cells} |  | 0.50 | timm |" in page


def test_the_kept_file_is_of_the_cases():
    measured = peer_times.content()
    if measured is None:
        pytest.skip("nobody has measured yet")
    known = {(case.layer, case.peer, case.shape) for case in CASES.values()}
    rows = measured["rows"]
    assert {(row["layer"], row["peer"], tuple(row["shape"])) for row in rows} == known
    for row in rows:
        assert row["ratios"] == results.ratios(row["ms"]["peer"], row["ms"]["ours"])
