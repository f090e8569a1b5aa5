"""The table of mechanisms in README.md, from the catalog."""

from collections.abc import Collection

from attn_core.catalog import FAMILIES, LAYERS, MECHANISMS

from scripts.tables.markdown import table


def text(names: Collection[str] = LAYERS) -> str:
    """Return the table of these layers in Markdown: the families in order, by their folders."""
    rows = []
    for family in FAMILIES.values():
        for mechanism in MECHANISMS:
            layers = [n for n in mechanism.layers if n in names and LAYERS[n].family == family.key]
            if layers:
                url = mechanism.paper_url or mechanism.reference_url
                shown = f"`{'`, `'.join(layers)}`"
                rows.append([f"[{mechanism.name}]({url})", shown, family.title, mechanism.year])
    return table(["Mechanism", "Layers", "Family", "Year"], rows)
