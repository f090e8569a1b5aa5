"""The built site: every page, search, table, keyboard; and faults that must be seen."""

import re

import attn_command  # noqa: F401 - first: attn_core then loads no Keras
import pytest
from attn_core.catalog import MECHANISMS
from browser.conftest import SITE
from browser.links import broken_links
from browser.windows import DESKTOP, PHONE, Window

PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))


DRAWN = {f"mechanisms/{mechanism.key}.html" for mechanism in MECHANISMS}
DRAWINGS = "svg[role=img]", "math[display=block]"
"""What the page of each mechanism has: its drawing and its formula."""


def check_page(window, page):
    """Return what is wrong with a page, on the desktop and on a phone."""
    window.open(page)
    faults = window.faults("nameless", "pale")
    for width in (DESKTOP, PHONE):
        window.resize(width)
        faults += window.faults("overflow", "invisible", "clipped", "broken")
    if page in DRAWN and not all(window.page.locator(f"article {one}").count() for one in DRAWINGS):
        faults.append("no drawing or no formula")
    return faults + window.errors


def schemes():
    """Yield each page in the light scheme, and in the dark one a mechanism's and all others."""
    for page in PAGES:
        yield page, "light"
        if not page.startswith("mechanisms/") or page == "mechanisms/cbam.html":
            yield page, "dark"


def test_every_mechanism_has_a_page():
    assert set(PAGES) >= DRAWN


@pytest.mark.parametrize(("page", "scheme"), list(schemes()))
def test_page(window, page, scheme):
    assert not check_page(window(scheme), page)
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"
    assert (int(window(scheme).page.evaluate(background)) > 127) == (scheme == "light")


def test_links():
    assert not broken_links(SITE)


# Search.

FAMILY = {"self-attention"}
"""Other names that many mechanisms share."""


def names(mechanism):
    """Return the words by which a mechanism must be found."""
    aliases = [alias for alias in mechanism.other_names if alias not in FAMILY]
    first = mechanism.authors.split(", ")[0]
    author = f"{first} {mechanism.year}" if len(first) == 2 else first  # "Li" begins many words
    words = mechanism.name, mechanism.key, *aliases, *mechanism.layers, mechanism.title
    return [word for word in dict.fromkeys((*words, author, mechanism.authors)) if word]


def check_search(window, mechanism):
    """Return by which names a mechanism's page is not among the first five."""
    page = f"mechanisms/{mechanism.key}.html"
    results = {name: window.search(name) for name in names(mechanism)}
    return [f"{name!r} finds {found}" for name, found in results.items() if page not in found[:5]]


def open_search(window):
    window.open("index.html", searches=True)
    window.page.keyboard.press("/")


@pytest.fixture(scope="module")
def searching(window):
    open_search(window())
    return window()


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda mechanism: mechanism.key)
def test_search(searching, mechanism):
    assert not check_search(searching, mechanism)
    assert not searching.errors


# The table to choose by.


def rows(window):
    """Return the cells of the rows that show."""
    table = window.page.locator("article table").first
    return table.locator("tbody tr:visible").evaluate_all(
        "all => all.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )


def check_sorting(window):
    """Return the columns that a click on the heading does not sort, upwards, then downwards."""
    window.open("choose.html")
    faults, headings = [], window.page.locator("article th button")
    for column, title in enumerate(headings.all_inner_texts()):
        for order in ("ascending", "descending"):
            headings.nth(column).click()
            cells = [row[column] for row in rows(window)]
            numbers = [int(cell.replace(",", "")) for cell in cells if cell[0].isdigit()]
            known = numbers if len(numbers) == len(cells) else [cell.casefold() for cell in cells]
            said = window.page.locator("article th").nth(column).get_attribute("aria-sort")
            if known != sorted(known, reverse=order == "descending") or said != order:
                faults.append(f"{title} is not {order}")
    return faults if headings.count() == 9 else [f"{headings.count()} columns sort"]


def test_sorting(window):
    assert not check_sorting(window())
    assert len(rows(window())) == len(MECHANISMS)


def test_filters(window):
    window().open("choose.html")
    page, everything = window().page, rows(window())
    for label, column, choice in (("Input", 1, "token"), ("Task", 2, "mobile")):
        page.get_by_label(label, exact=True).select_option(choice)
        expected = [row for row in everything if choice in row[column]]
        assert 0 < len(expected) < len(everything)
        assert rows(window()) == expected
        count = page.locator("#filters output").inner_text()
        assert count == f"{len(expected)} of {len(everything)}"
        page.get_by_label(label, exact=True).select_option("")
    page.get_by_label("Filter by word").fill("sQUeeze")
    expected = [row for row in everything if "squeeze" in " ".join(row).casefold()]
    assert 1 < len(expected) < len(everything)
    assert rows(window()) == expected
    page.get_by_label("Filter by word").fill("no such mechanism")
    assert rows(window()) == []
    page.get_by_label("Filter by word").fill("")
    assert rows(window()) == everything


# The keyboard.


def check_keyboard(window):
    """Return what Tab does not reach in the table, or reaches and does not show."""
    window.open("choose.html")
    window.page.locator("#filters input").focus()
    titles = [title.strip() for title in window.page.locator("article th button").all_inner_texts()]
    faults = []
    for name in ["Filter by word", "Input", "Task", *titles]:
        focus = window.focus()
        if focus != {"name": name, "ring": True, "inside": True}:
            faults.append(f"{name}: {focus}")
        window.page.keyboard.press("Tab")
    return faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_keyboard(window, scheme):
    assert not check_keyboard(window(scheme))


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_keys_sort(window, key):
    window().open("choose.html")
    heading = window().page.locator("article th button", has_text="Parameters")
    heading.focus()
    window().page.keyboard.press(key)
    numbers = [int(row[6].replace(",", "")) for row in rows(window())]
    assert numbers == sorted(numbers)


def test_skip_link(window):
    window().open("choose.html")
    page = window().page
    page.keyboard.press("Tab")
    assert window().focus() == {"name": "Skip to content", "ring": True, "inside": True}
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('article') !== null")


@pytest.mark.parametrize("key", ["/", "s", "f"])
def test_keys_search(window, key):
    window().open("choose.html", searches=True)
    page = window().page
    page.keyboard.press(key)
    assert window().focus()["name"] == "Search"
    page.keyboard.type("cbam")
    page.locator(".md-search-result__link").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/mechanisms/cbam.html*")
    assert not window().errors


def test_scheme_by_hand(window):
    window().open("index.html")
    page = window().page
    page.get_by_title("Dark", exact=True).click()
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"
    page.get_by_title("Light", exact=True).click()
    assert page.locator("body").get_attribute("data-md-color-scheme") == "default"


# Faults, each put into a copy of the site, must be seen.


def check_index(window):
    return check_page(window, "index.html")


def check_cbam(window):
    return check_page(window, "mechanisms/cbam.html")


def check_names(window):
    open_search(window)
    searched = [one for one in MECHANISMS if one.key in ("cbam", "halo")]
    return [fault for one in searched for fault in check_search(window, one)]


PAGE = "index.html", "</article>"
CBAM = "mechanisms/cbam.html", "</article>"
STYLE = "assets/site.css", "/* Drawings"
INDEX = "search/search_index.json"
HALO = next(one for one in MECHANISMS if one.key == "halo")


@pytest.mark.parametrize(
    ("place", "fault", "check", "words"),
    [
        (PAGE, '<p style="width: 700px">wide</p>', check_index, "of 390 pixels wide"),
        (PAGE, '<p style="overflow: hidden"><b style="margin-left: 400px">b</b></p>',
         check_index, "cut off: <b"),
        (PAGE, '<p style="overflow: hidden; white-space: nowrap; width: 50px">too much text</p>',
         check_index, "clipped: <p"),
        (STYLE, ".formula { overflow: hidden !important; width: 60px; }", check_cbam,
         'clipped: <span class="formula"'),
        (PAGE, '<p style="width: 40px"><code style="word-break: break-all">identifier</code></p>',
         check_index, "broken: identifier"),
        (PAGE, '<script>console.error("oh")</script>', check_index, "console: oh"),
        (PAGE, "<script>oh()</script>", check_index, "oh is not defined"),
        (PAGE, '<script src="gone.js"></script>', check_index, "gone.js"),
        (PAGE, '<script src="http://127.1.1.1/a.js"></script>', check_index, "asks others"),
        (PAGE, '<script>fetch("https://example.org").catch(() => 0)</script>',
         check_index, "example.org"),
        (PAGE, '<img src="images/accuracy.png">', check_index, "nameless: <img"),
        (PAGE, '<img src="choose.html" alt="a page">', check_index, "invisible: <img"),
        (PAGE, '<svg role="img" width="9" height="9"></svg>', check_index, "nameless: <svg"),
        (PAGE, "<button></button>", check_index, "nameless: <button"),
        (STYLE, "math { display: none; }", check_cbam, "invisible: <math"),
        (CBAM, "<script>document.querySelectorAll('math').forEach((one) => one.remove())</script>",
         check_cbam, "no drawing or no formula"),
        (STYLE, ".flow svg { height: 0; }", check_cbam, "invisible: <svg"),
        (STYLE, "math { opacity: 1; color: #aaa; }", check_cbam, "contrast 2.3: <mi"),
        (STYLE, ".flow text { fill: white !important; }", check_cbam, "contrast 1.0: <text"),
        (STYLE, ".flow .line { stroke: #ccc !important; }", check_cbam, "contrast 1.6: <path"),
        (STYLE, "th button { outline: none !important; }", check_keyboard, "'ring': False"),
        (STYLE, "#filters select { visibility: hidden; }", check_keyboard, "Input: "),
        (("assets/choose.js", "body.append("), "Math.max(", check_sorting, "Year is not ascending"),
        (("assets/choose.js", "Number(word"), "NaN * (word", check_sorting, "Parameters is not"),
        ((INDEX, "Woo"), "", check_names, "'Woo' finds"),
        ((INDEX, HALO.title), "", check_names, f"'{HALO.title}' finds"),
        ((INDEX, "HaloNet"), "", check_names, "'halonet' finds"),
        ((INDEX, '"mechanisms/cbam.html'), '"gone.html', check_names, "'CBAM' finds"),
    ],
)  # fmt: skip
def test_fault(chromium, other_site, place, fault, check, words):
    site, address = other_site
    file, before = place
    text = (site / file).read_text()
    fault = fault if file.endswith(("js", "json")) else fault + before
    changed, times = re.subn(re.escape(before), lambda _: fault, text, flags=re.IGNORECASE)
    assert times
    (site / file).write_text(changed)
    window = Window(chromium, address)
    found = check(window)
    window.page.close()
    assert any(words in one for one in found), found


@pytest.mark.parametrize("link", ["gone.html", "choose.html#gone", "#gone", "assets/gone.css"])
def test_broken_link(other_site, link):
    site, _ = other_site
    with (site / "index.html").open("a") as file:
        file.write(f'<a href="{link}">a link</a>')
    assert broken_links(site) == [f"index.html links to {link}"]
