"""The charts: every mechanism at its place, with a link; without a script there is a table."""

import re
from itertools import pairwise

import attn_command  # noqa: F401 - first: attn_core then loads no Keras
import pytest
from attn_core import catalog
from attn_core.catalog import MECHANISMS
from browser.windows import DESKTOP, PHONE

FIELD = ".chart[data-chart=field]"
MARKS = f"{FIELD} [aria-label=dot] a[*|href]"
PLACED = [*{one.family: one for one in MECHANISMS}.values(), catalog.get("sim-am")]
"""The last mechanism of each family, and one at the corner of the chart."""
READ = """(marks) => marks.map((mark) => {
  const { x, y, width, height } = mark.getBoundingClientRect();
  return [mark.getAttribute("xlink:href") ?? mark.getAttribute("href"),
    mark.querySelector("title").textContent, x + width / 2, y + height / 2];
})"""


def marks(window):
    """Return the marks of a scatter by the key of the page that each leads to."""
    found = window.page.locator(MARKS)
    found.first.wait_for()
    rows = found.evaluate_all(READ)
    return {re.search(r"/mechanisms/(.*)\.html$", link)[1]: row for link, *row in rows}


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_scatter(window, width):
    """A mark for each mechanism, the further right the more multiply-adds, the higher the more."""
    window().open("choose.html", width)
    found = marks(window())
    assert sorted(found) == sorted(one.key for one in MECHANISMS)
    costs = {
        one.key: [round(one.evaluate(text)) for text in (one.multiply_adds, one.parameters)]
        for one in MECHANISMS
    }
    for axis, sign in ((0, 1), (1, -1)):
        order = sorted(found, key=lambda key: (costs[key][axis], sign * found[key][1 + axis]))
        places = [sign * found[key][1 + axis] for key in order]
        gaps = [after - before for before, after in pairwise(places)]
        assert min(gaps) > -6, axis  # the middle of a symbol is not always its place
        assert max(places) - min(places) > 200
    for one in MECHANISMS:
        multiply_adds, parameters = costs[one.key]
        said = f"{one.name}: {parameters:,} parameters, {multiply_adds:,} multiply-adds"
        assert found[one.key][0] == said
    assert not window().errors


def test_growth(window):
    window().open("choose.html")
    page = window().page
    lines = page.locator(".chart[data-chart=growth] [aria-label=line] a")
    lines.first.wait_for()
    assert lines.count() == len(MECHANISMS)
    ticks = page.locator(".chart[data-chart=growth] [aria-label='x-axis tick label'] text")
    assert ticks.all_text_contents() == ["49", "196", "784", "3,136", "12,544"]


@pytest.mark.parametrize("mechanism", PLACED, ids=lambda one: one.key)
def test_place(window, mechanism):
    """A mechanism's page shows its place: one ring and a word in bold, at its own mark."""
    window().open(f"mechanisms/{mechanism.key}.html")
    page = window().page
    found = marks(window())
    assert len(found) == len(MECHANISMS)
    text = page.locator(f"{FIELD} [aria-label=text] text")
    assert text.all_text_contents() == ["this one"]
    ring = page.locator(f"{FIELD} [aria-label=dot] circle[r='10']").bounding_box()
    middle = [ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2]
    assert middle == pytest.approx(found[mechanism.key][1:], abs=4)


def test_click(window):
    window().open("choose.html")
    marks(window())
    window().page.locator(f"{MARKS}[*|href$='/eca.html']").first.click()
    window().page.wait_for_url("**/mechanisms/eca.html")


def test_keyboard(window):
    """Tab reaches the marks; what has the keyboard is said below the chart, and Enter opens it."""
    window().open("choose.html")
    first, *_ = marks(window())
    page = window().page
    page.locator(MARKS).first.focus()
    said = page.locator(f"{FIELD} output").inner_text()
    assert said.startswith(f"{catalog.get(first).name}: ")
    page.keyboard.press("Tab")
    assert page.locator(f"{FIELD} output").inner_text() != said
    page.keyboard.press("Enter")
    page.wait_for_url("**/mechanisms/*.html")


@pytest.mark.parametrize("page", ["choose.html", "mechanisms/cbam.html"])
def test_redrawn(window, page):
    """A chart follows the width of the window."""
    window().open(page)
    marks(window())
    svg = window().page.locator(f"{FIELD} > div > svg")
    window().resize(PHONE)
    window().page.wait_for_function(
        "document.querySelector('.chart > div > svg').viewBox.baseVal.width < 390"
    )
    assert svg.bounding_box()["width"] < PHONE
    assert not window().faults("overflow", "clipped", "invisible")


def test_without_script(window, chromium):
    """The tables have the numbers of the charts."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{window().address}choose.html")
    rows = page.locator("article table").first.locator("tbody tr").all_inner_texts()
    for one, row in zip(MECHANISMS, rows, strict=True):
        for formula in (one.parameters, one.multiply_adds):
            assert f"{round(one.evaluate(formula)):,}" in row
    page.goto(f"{window().address}mechanisms/cbam.html")
    assert "8,564" in page.locator("article").inner_text()
    context.close()
