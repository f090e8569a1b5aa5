"""The page of the measured ratios: the layers' times against their peers' and the authors'."""

import json
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.peers.results import KEPT, STEPS, geometric_mean
from scripts.site.recorded_results import BACKENDS
from scripts.tables.markdown import table

AUTHORS = Path(__file__).parents[2] / "docs" / "data" / "authors.json"
"""Times against the authors' modules, measured outside this repository, which has none of them."""
UNMEASURED = "The times have not been measured yet (`nox -s bench -- peers --keep`)."
PICTURE = "peers.png"
TITLES = {"forward": "Forward pass", "training": "Training step"}
MARKS = {"jax": "o", "tensorflow": "s", "torch": "^"}
COLOURS = {"jax": "#3a3f9e", "tensorflow": "#b35900", "torch": "#00695c"}


def content() -> dict | None:
    """Return what was measured, `None` where nobody has."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else None


def write(folder: Path) -> None:
    """Add the results to the page in a folder, and draw the picture beside it."""
    measured = content()
    with (folder / "peers.md").open("a") as page:
        page.write(f"\n{section(measured)}\n\n{against_authors()}\n")
    if measured:
        figure(measured).savefig(folder / PICTURE, dpi=110)


def size(row: dict) -> str:
    """Return the shape of the input of a row."""
    return "x".join(map(str, row["shape"]))


def name(row: dict) -> str:
    """Return the layer, its peer's library and the input of a row."""
    return f"{row['layer']} / {row['peer'].partition('.')[0]}, {size(row)}"


def section(measured: dict | None) -> str:
    """Return the results in Markdown: the machine, the means, the picture and the tables."""
    if measured is None:
        return UNMEASURED
    rows = measured["rows"]
    libraries = ", ".join(f"{one} {number}" for one, number in measured["versions"].items())
    said = (
        f"Measured on {measured['machine']}, with {libraries}: the median of {measured['rounds']} "
        f"rounds of {measured['seconds']} seconds each."
    )
    alt = "The ratios of the tables below, for every case and backend"
    parts = ["## Results", said, means(rows), f"![{alt}]({PICTURE})"]
    for step in STEPS:
        parts += [f"### {TITLES[step]}", cases([row for row in rows if row["step"] == step])]
    return "\n\n".join(parts)


def means(rows: list[dict]) -> str:
    """Return the table of the geometric means of the ratios, and how many are below 1."""
    lines = []
    for step in STEPS:
        cells = []
        for backend in BACKENDS:
            every = [row["ratios"].get(backend) for row in rows if row["step"] == step]
            found = [ratio for ratio in every if ratio is not None]
            below = sum(ratio < 1 for ratio in found)
            cells.append(f"{geometric_mean(found):.2f} ({below} of {len(found)})" if found else "")
        lines.append([TITLES[step], *cells])
    return table(["Geometric mean (below 1)", *BACKENDS.values()], lines, numbers=len(BACKENDS))


def cases(rows: list[dict]) -> str:
    """Return the table of a step: the peer's milliseconds, then ours with the ratio in brackets."""
    lines = []
    for row in rows:
        ours = [
            f"{row['ms']['ours'][one]:.3g} ({row['ratios'][one]:.2f})"
            if one in row["ratios"]
            else ""
            for one in BACKENDS
        ]
        error = "" if row["difference"] is None else f"{row['difference']:.0e}"
        peer = " / ".join(f"{time:.3g}" for time in row["ms"]["peer"].values())
        lines.append([f"`{row['layer']}`", size(row), peer, *ours, error, f"`{row['peer']}`"])
    headings = ["Layer", "Input", "Peer, ms", *BACKENDS.values(), "Difference", "Peer"]
    return table(headings, lines, numbers=len(BACKENDS) + 2, after=1)


def against_authors() -> str:
    """Return the section on the authors' modules, now and before, in Markdown."""
    measured = json.loads(AUTHORS.read_text())
    libraries = ", ".join(f"{one} {number}" for one, number in measured["versions"].items())
    parts = [
        "## Against the authors' own code",
        "The modules that the authors released cannot be installed as packages. They were fetched "
        "and measured beside our layers by a program outside this repository, in the way that is "
        "described above: one run, in turns, both layouts of the authors' images, and the median "
        f"of {measured['rounds']} rounds of {measured['seconds']} seconds each. Where the authors' "
        "module does not run on a CPU or was not released, the peer is that of timm, of PyTorch or "
        "of a collection; those marked * compute something else of about the same size. A training "
        "step is the forward pass and all gradients. Before is this library of 2026-11-23, "
        "measured in the same run; mechanisms without a time from before were measured later. "
        f"The machine: {measured['machine']}, with {libraries}.",
    ]
    headings = ["Geometric mean (below 1)", *BACKENDS.values(), "Best of the three"]
    lines = []
    for step in STEPS:
        rows = [row for row in measured["rows"] if row["step"] == step]
        old, new = ([r for r in rows if ("before" in r) is known] for known in (True, False))
        groups = {"before": old, "now": old, "new mechanisms": new}
        for title, group in groups.items():
            ratios = [quotients(row, "before" if title == "before" else "now") for row in group]
            kinds = [[one[backend] for one in ratios] for backend in BACKENDS]
            kinds.append([max(one.values()) for one in ratios])
            cells = [f"{geometric_mean(k):.2f} ({sum(r < 1 for r in k)})" for k in kinds if k]
            if cells:
                lines.append([f"{TITLES[step]}, {title}", *cells])
    parts.append(table(headings, lines, numbers=len(BACKENDS) + 1))
    for step in STEPS:
        lines = []
        for row in measured["rows"]:
            if row["step"] == step:
                now = quotients(row, "now")
                times = [f"{row['now'][one]:.3g} ({now[one]:.2f})" for one in BACKENDS]
                best = [
                    f"{max(quotients(row, v).values()):.2f}" if v in row else ""
                    for v in ("before", "now")
                ]
                given = ", ".join(f"{name}={value}" for name, value in row["arguments"].items())
                ours = f"`{row['layer']}({given})`" if given else f"`{row['layer']}`"
                lines.append([ours, f"{row['ms']:.3g}", *times, *best, row["peer"]])
        headings = ["Layer", "Peer, ms", *BACKENDS.values(), "Best, before", "Best, now", "Peer"]
        parts += [f"### {TITLES[step]}, against the authors", table(headings, lines, 6, after=1)]
    return "\n\n".join(parts)


def quotients(row: dict, version: str) -> dict[str, float]:
    """Return the peer's time over that of a version, for each backend."""
    return {backend: row["ms"] / row[version][backend] for backend in BACKENDS}


def figure(measured: dict) -> Figure:
    """Return the picture: the ratios of each case on a logarithmic axis, a panel for each step."""
    names = list(dict.fromkeys(map(name, measured["rows"])))
    picture = Figure(figsize=(11, 1.5 + 0.25 * len(names)), layout="constrained")
    panels = picture.subplots(1, len(STEPS), sharey=True)
    for panel, step in zip(panels, STEPS, strict=True):
        rows = [row for row in measured["rows"] if row["step"] == step]
        for backend, title in BACKENDS.items():
            known = [row for row in rows if backend in row["ratios"]]
            points = [[row["ratios"][backend] for row in known], [name(row) for row in known]]
            panel.plot(*points, MARKS[backend], color=COLOURS[backend], label=title, alpha=0.8)
        panel.axvline(1, color="#455a64", linewidth=1)
        panel.set(title=TITLES[step], xlabel="time of the peer / our time")
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.grid(axis="y", alpha=0.3)
    panels[0].invert_yaxis()
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return picture
