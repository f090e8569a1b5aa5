"""The table of mechanisms in README.md, from the catalog."""

from collections.abc import Collection

from attn_core.catalog import FAMILIES, LAYERS, MECHANISMS

from scripts.site.recorded_results import SOURCES
from scripts.tables.markdown import table


def text(names: Collection[str] = LAYERS) -> str:
    """Return the table of these layers in Markdown: by family, and within it by number."""
    rows = []
    for family in FAMILIES.values():
        members = []
        for mechanism in MECHANISMS:
            layers = [n for n in mechanism.layers if n in names and LAYERS[n].family == family.key]
            if layers:
                url = mechanism.paper_url or mechanism.reference_url
                shown = f"`{'`, `'.join(layers)}`"
                made = SOURCES[mechanism.evidence][0]
                members.append([f"[{mechanism.name}]({url})", shown, mechanism.year, made])
        if members:
            rows += [[f"**{family.title}**", "", "", ""], *members]
    return table(["Mechanism", "Layers", "Year", "Reference vectors"], rows)
