"""The measured errors on file: whole rows, within their bounds; pages claim nothing beyond them."""

import json

import pytest
from attn_core import catalog
from reference import MODEL_VECTORS, VECTORS, WIDER, read

from scripts.checks import proof
from scripts.site import mechanism_pages, recorded_results
from scripts.site.recorded_results import BACKENDS

CONTENT = proof.content()


def test_every_measured_vector_has_all_backends():
    """A new vector may be missing until `nox -s proof` has measured it; a backend may not."""
    files = {path.stem: path for path in (*VECTORS, *MODEL_VECTORS)}
    assert set(CONTENT["vectors"]) <= set(files)
    assert len(CONTENT["vectors"]) >= 0.7 * len(files)
    for case, row in CONTENT["vectors"].items():
        meta, _ = read(files[case])
        assert (row["layer"], row["atol"]) == (meta["layer"], meta["atol"]), case
        assert set(row["errors"]) == set(BACKENDS), case
    assert set(CONTENT["versions"]) == set(proof.PACKAGES)


@pytest.mark.parametrize("case", CONTENT["vectors"])
def test_errors_are_within_their_bounds(case):
    row = CONTENT["vectors"][case]
    wider = [bound for (name, _), bound in WIDER.items() if name == case]
    for errors in row["errors"].values():
        assert {"output", "gradient"} <= set(errors)
        for kind, error in errors.items():
            bounds = [10 * row["atol"], *wider] if kind == "gradient" else [row["atol"]]
            assert 0 <= error <= max(bounds)


@pytest.mark.parametrize("mechanism", catalog.MECHANISMS, ids=lambda one: one.key)
def test_evidence(mechanism):
    """The badge "Equations" goes with vectors that were made without a repository."""
    metas = [read(path)[0] for path in VECTORS if path.stem.endswith("default")]
    made = {bool(m["reference"]["commit"]) for m in metas if m["layer"] in mechanism.layers}
    assert made == {mechanism.evidence != "equations"}


def test_merged(tmp_path):
    folder = tmp_path / "reference" / "jax"
    folder.mkdir(parents=True)
    errors = {"output": 1.2345e-7, "grad/x": 2e-7, "grad/key": 3e-7}
    result = {"layer": "CBAM", "case": "one", "atol": 2e-5, "errors": errors}
    (folder / "one.json").write_text(json.dumps(result))
    (folder / "gone.json").write_text(json.dumps(result | {"case": "gone"}))
    before = {"layer": "CBAM", "atol": 1e-5, "errors": {"jax": {"output": 1.0}, "torch": {}}}
    half = tmp_path / "half" / "jax"
    half.mkdir(parents=True)
    result = {"layer": "CBAM", "dtype": "float16", "error": 1.2345e-3}
    (half / "CBAM-float16.json").write_text(json.dumps(result))
    known = {
        "versions": {"torch": "2.0"},
        "vectors": {"one": before, "old": before},
        "half": {"CBAM": {"jax": {"float16": 1.0, "bfloat16": 2.0}}},
        "refused": {},
    }
    found = proof.merged(known, "jax", tmp_path, {"one"})
    assert found["vectors"] == {
        "one": {
            "layer": "CBAM",
            "atol": 2e-5,
            "errors": {"jax": {"output": 1.23e-7, "gradient": 3e-7}, "torch": {}},
        }
    }
    assert found["half"] == {"CBAM": {"jax": {"float16": 1.23e-3, "bfloat16": 2.0}}}
    assert found["refused"] == {}
    assert json.loads(proof.written(found)) == found


def test_a_page_claims_nothing_without_numbers(monkeypatch):
    cbam = catalog.get("cbam")
    assert "[Verified](#verified): largest error JAX 5e-07, " in mechanism_pages.badge(cbam)
    assert "| `CBAM()` | [Jongchan/attention-module](" in mechanism_pages.verified(cbam)
    monkeypatch.setattr(recorded_results, "vectors", lambda names: {})
    texts = [mechanism_pages.badge(cbam), mechanism_pages.verified(cbam)]
    assert "erified" not in "".join(texts)
    assert "not been measured yet" in texts[1]
    assert "Authors' code" in texts[0]
