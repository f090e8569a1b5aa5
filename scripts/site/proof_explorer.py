"""The page of the proof: the errors of each mechanism on each backend, and how vectors were made.

The table is Markdown; docs/assets/choose.js lets readers sort and filter it.
"""

from attn_core import catalog
from attn_core.catalog import FAMILIES, Mechanism

from scripts.checks import proof
from scripts.site import recorded_results
from scripts.site.recorded_results import BACKENDS
from scripts.tables.markdown import table

KINDS = ("output", "gradient", "training")
DTYPES = ("float16", "bfloat16")


def explorer() -> str:
    """Return the table of all mechanisms, a row for each backend on which they were measured."""
    half, rows = proof.content()["half"], []
    for one in catalog.MECHANISMS:
        link, badge = f"[{one.name}](mechanisms/{one.key}.md)", recorded_results.badge(one)
        differing = f"[What differs](differences.md#{anchor(one)})"
        about = [badge, sources(one), differing, FAMILIES[one.family].title]
        for backend in recorded_results.worst(tuple(one.layers)):
            measured = [*errors(one, backend), *half_precision(one, backend, half)]
            rows.append([link, BACKENDS[backend], *measured, *about])
    measures = [*map(str.capitalize, KINDS), *DTYPES]
    others = ["Source", "Repository and commit", "Differences", "Family"]
    titles = ["Mechanism", "Backend", *measures, *others]
    return table(titles, rows, numbers=len(measures), after=len(others))


def errors(mechanism: Mechanism, backend: str) -> list[str]:
    """Return the largest errors of a mechanism's layers on a backend, by kind."""
    found = [
        row["errors"][backend]
        for row in recorded_results.vectors(tuple(mechanism.layers)).values()
        if backend in row["errors"]
    ]
    return [_largest([one[kind] for one in found if kind in one]) for kind in KINDS]


def half_precision(mechanism: Mechanism, backend: str, measured: dict[str, dict]) -> list[str]:
    """Return the largest errors of a mechanism's layers in half precision on a backend."""
    found = [measured.get(name, {}).get(backend, {}) for name in mechanism.layers]
    return [_largest([one[dtype] for one in found if dtype in one]) for dtype in DTYPES]


def sources(mechanism: Mechanism) -> str:
    """Return the repositories at whose commits a mechanism's vectors were made."""
    made = {}
    for case in recorded_results.vectors(tuple(mechanism.layers)):
        reference = proof.meta(case)["reference"]
        if reference["commit"]:
            name = "/".join(reference["repo"].split("/")[-2:])
            address = f"{reference['repo']}/tree/{reference['commit']}"
            made[f"[{name} at {reference['commit'][:7]}]({address})"] = None
    return ", ".join(made) or "the paper's equations"


def anchor(mechanism: Mechanism) -> str:
    """Return where a mechanism stands on the page of what differs."""
    return f"no-{mechanism.number}"


def _largest(errors: list[float]) -> str:
    return f"{max(errors):.1e}" if errors else ""
