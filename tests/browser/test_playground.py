"""The playground: maps as Keras computes them, pointer and keyboard, files of all kinds."""

import json
import re
import struct
import zlib

import pytest
from browser.conftest import SITE
from browser.windows import DESKTOP, PHONE, Window

FOLDER = SITE / "assets" / "playground"
DATA = json.loads((FOLDER / "index.json").read_text())
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
MECHANISMS = {one["key"]: one for one in DATA["mechanisms"]}
ROWS, COLUMNS = DATA["grid"]
CELL = DATA["display"][0] // ROWS
COMPUTE = """async ([mechanism, size]) => {
  const length = size[0] * size[1] * 3;
  const input = Float32Array.from({ length }, (_, at) => ((at * 37) % 101) / 100);
  const network = await attnPlayground.network(mechanism);
  const { maps } = await attnPlayground.run(network, input, size);
  return maps.map((map) => {
    const step = Math.ceil(map.length / 16);
    return Array.from(map).filter((_, at) => at % step === 0);
  });
}"""
"""Some numbers of the maps for the input that `map_networks.pattern` makes."""
FRAMES = """([rows, columns, cell]) => {
  const framed = (context, row, column) => [[16, 1], [1, 16], [16, cell - 1], [cell - 1, 16]]
    .every(([x, y]) => "255,0,0,255"
      === String(context.getImageData(column * cell + x, row * cell + y, 1, 1).data));
  const cells = Array.from({ length: rows * columns }, (_, at) =>
    [Math.floor(at / columns), at % columns]);
  return [...document.querySelectorAll("canvas[tabindex]")]
    .map((one) => cells.filter((cell) => framed(one.getContext("2d"), ...cell)));
}"""
"""The cells that are framed in each of the two photographs."""
PIXEL = """(one, [x, y]) => [...one.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3)"""


BOUNDS = {"emsa": 1e-4}
"""Largest difference of a map where it is not 1e-5. The instance norm of EMSA divides a map by the
spread of its weights, which is small where they are nearly equal: it magnifies their rounding."""


def opened(window, width=DESKTOP, query=""):
    """Open the page and start."""
    window.open(f"playground.html{query}", width)
    window.page.get_by_role("button", name="Start").click()
    ready = window.page.locator(".playground-status", has_text="were loaded in")
    ready.wait_for(timeout=60_000)  # 14 MB, beside other browsers
    assert not window.page.get_by_role("button", name="Start").is_visible()
    return window


@pytest.fixture(scope="module")
def playing(chromium, window):
    """A window on the page, started."""
    own = opened(Window(chromium, window().address))
    yield own
    own.page.close()


def frames(window):
    return window.page.evaluate(FRAMES, [ROWS, COLUMNS, CELL])


def choose(window, side, key):
    """Choose a mechanism and wait until its map is drawn; return what says so in words."""
    window.page.get_by_label(f"Mechanism, {side}").select_option(key)
    section = window.page.locator("section").nth(["left", "right"].index(side))
    section.and_(window.page.locator(f"[data-shows={key}]")).wait_for()
    return section.locator("output")


def said(window):
    return window.page.locator(".playground-sides output").all_inner_texts()


def message(window):
    return window.page.locator(".playground-message:visible").all_inner_texts()


@pytest.mark.parametrize("key", MECHANISMS)
def test_maps(playing, key):
    """The maps are those that Keras computed when the network was exported."""
    maps = playing.page.evaluate(COMPUTE, [MECHANISMS[key], DATA["size"]])
    for found, expected in zip(maps, EXPECTED[key], strict=True):
        assert found == pytest.approx(expected, rel=0, abs=BOUNDS.get(key, 1e-5))


@pytest.mark.parametrize("key", MECHANISMS)
def test_views(playing, key):
    """Every map of a mechanism is drawn and said in words."""
    output = choose(playing, "left", key)
    views, maps = MECHANISMS[key]["views"], playing.page.get_by_label("Map, left")
    assert maps.is_visible() == (len(views) > 1)
    for number, view in enumerate(views):
        if len(views) > 1:
            maps.select_option(str(number))
        text = output.inner_text()
        assert text.startswith(view["what"][0].upper() + view["what"][1:])
        assert re.search(r"\d", text)
        assert "NaN" not in text
        assert "undefined" not in text
        chart = playing.page.locator("section").first.locator("canvas").nth(1)
        assert chart.is_visible() == (view["kind"] != "image")
        panels = playing.page.get_by_label("Panel, left")
        assert panels.is_visible() == (len(view["panels"]) > 1)
        if view["mean"]:
            assert "(mean over the " in text
            panels.select_option("1")
            assert f"({view['panels'][1]})" in output.inner_text()
    assert not playing.errors


def test_numbers(playing):
    """A table says which number of the map is drawn where; 65535 is nowhere."""
    view = {"shape": [1, 3], "offsets": [0, 10]}
    script = "([view, map, table, query]) => attnPlayground.numbers(view, map, table, query, 1)"
    found = playing.page.evaluate(script, [view, list(range(20)), [0, 0, 0, 4, 65535, 2], 1])
    assert [found[0], found[2]] == [14, 12]
    assert found[1] != found[1]
    assert playing.page.evaluate(script, [view, list(range(20)), None, 1]) == [13, 14, 15]


def test_corner_of_a_square_map(window):
    """The number in the frame is one of the map, also where that has other rows and columns."""
    opened(window(), query="?mechanism=agent")
    assert MECHANISMS["agent"]["views"][0]["shape"][1] < COLUMNS
    photograph = window().page.locator("canvas[tabindex]").first
    box = photograph.bounding_box()
    photograph.hover(position={"x": box["width"] - 2, "y": box["height"] - 2})
    assert re.search(r"\d in the frame\.$", said(window())[0])
    assert not window().errors


def test_pointer(window):
    """The frame follows the pointer in both photographs, and so do the numbers."""
    opened(window())
    choose(window(), "right", "neighborhood")
    before = said(window())
    canvas = window().page.locator("canvas[tabindex]").first
    box = canvas.bounding_box()
    canvas.hover(position={"x": box["width"] * 2.5 / COLUMNS, "y": box["height"] * 5.5 / ROWS})
    assert frames(window()) == [[[5, 2]]] * 2
    assert all(now != then for now, then in zip(said(window()), before, strict=True))
    other = window().page.locator("canvas[tabindex]").last
    other.hover(position={"x": box["width"] - 1, "y": box["height"] - 1})
    assert frames(window()) == [[[ROWS - 1, COLUMNS - 1]]] * 2
    assert not window().errors


def test_neighbours(window):
    """The map of neighbourhood attention has weights around the frame, and none elsewhere."""
    opened(window(), query="?mechanism=neighborhood")
    canvas = window().page.locator("canvas[tabindex]").first
    box = canvas.bounding_box()
    canvas.hover(position={"x": box["width"] * 9.5 / COLUMNS, "y": box["height"] * 6.5 / ROWS})
    for row, column, coloured in ((4, 7, True), (8, 11, True), (3, 9, False), (6, 12, False)):
        red, green, blue = canvas.evaluate(PIXEL, [column * CELL + 9, row * CELL + 9])
        assert (max(red, green, blue) - min(red, green, blue) > 3) == coloured


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_keyboard(window, scheme):
    opened(window(scheme))
    canvas = window(scheme).page.locator("canvas[tabindex]").first
    canvas.focus()
    window(scheme).page.keyboard.press("ArrowRight")
    assert window(scheme).focus()["ring"]
    ((row, column),) = frames(window(scheme))[0]
    for key, by in (("ArrowUp", (-1, 0)), ("ArrowLeft", (0, -1)), ("ArrowDown", (1, 0))):
        canvas.press(key)
        row, column = row + by[0], column + by[1]
        assert frames(window(scheme)) == [[[row, column]]] * 2
    for _ in range(COLUMNS):
        canvas.press("ArrowRight")
    assert frames(window(scheme)) == [[[row, COLUMNS - 1]]] * 2


def test_side_by_side(window):
    """A mechanism changes on its own side alone; a photograph changes on both."""
    opened(window())
    left, right = said(window())
    output = choose(window(), "right", "criss-cross")
    assert said(window())[0] == left
    assert said(window())[1] != right
    before = said(window())
    window().page.get_by_role("button", name="Flower").click()
    output.filter(has_not_text=before[1]).wait_for()
    assert all(now != then for now, then in zip(said(window()), before, strict=True))
    pressed = window().page.locator("[aria-pressed=true] img")
    assert pressed.get_attribute("alt") == "Flower"


def test_last_choice_counts(window):
    """A network that comes late does not replace the one that was chosen after it."""
    opened(window())
    page, late = window().page, []
    page.route("**/networks/coatnet.onnx", lambda route: late.append(route))
    page.get_by_label("Mechanism, left").select_option("coatnet")
    output = choose(window(), "left", "se")
    before = output.inner_text()
    late.pop().continue_()
    run = "performance.getEntriesByName('playground: run').some((one) => one.detail === 'coatnet')"
    page.wait_for_function(run)
    page.unroute("**/networks/coatnet.onnx")
    choose(window(), "right", "eca")  # whatever came before is done
    assert output.inner_text() == before
    assert page.locator("section[data-shows=se]").count() == 1


def test_link_to_a_mechanism(window):
    opened(window(), query="?mechanism=dot-product")
    labels = [window().page.get_by_label(f"Mechanism, {side}") for side in ("left", "right")]
    assert [one.input_value() for one in labels] == ["dot-product", "cbam"]
    opened(window(), query="?mechanism=none")
    assert labels[0].input_value() == "cbam"


# Pictures of the reader's own.


def png(width, height, row):
    """Return a PNG of one byte a pixel, of equal rows, without a picture in memory."""
    press = zlib.compressobj(1)
    body = b"".join(press.compress(b"\0" + row) for _ in range(height)) + press.flush()
    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    parts = (b"IHDR", head), (b"IDAT", body), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in parts)


def give(window, name, content, kind="image/png"):
    """Choose a file, as a reader does."""
    file = {"name": name, "mimeType": kind, "buffer": content}
    window.page.get_by_label("A picture of your own").set_input_files(file)


STRIPES = png(600, 200, b"\0" * 200 + b"\x50" * 200 + b"\xff" * 200)
UNREADABLE = "{} is not a picture that this browser can read. Choose a PNG, JPEG or WebP file."


def test_own_picture(window):
    """The middle of the picture is shown, its maps are drawn, and nothing leaves the browser."""
    opened(window())
    before = said(window())
    choose(window(), "right", "se")  # which shows the photograph itself
    give(window(), "stripes.png", STRIPES)
    status = window().page.locator(".playground-status")
    status.filter(has_text="stripes.png has 600 x 200 pixels").wait_for()
    assert "It stays in your browser." in status.inner_text()
    window().page.locator("#playground-said-0").filter(has_not_text=before[0]).wait_for()
    canvas = window().page.locator("canvas[tabindex]").last
    colours = [canvas.evaluate(PIXEL, [x, 5]) for x in (60, 288, 510)]
    assert colours == [[0] * 3, [0x50] * 3, [0xFF] * 3]
    assert not window().page.locator("[aria-pressed=true]").count()
    assert not message(window())
    assert not window().errors


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("notes.txt", b"No picture at all.", "text/plain"),
        ("notes.png", b"No picture at all.", "image/png"),
        ("empty.png", b"", "image/png"),
        ("broken.png", STRIPES[:20], "image/png"),
    ],
)
@pytest.mark.parametrize("started", [True, False])
def test_no_picture(window, name, content, kind, started):
    """A file that is no picture is explained; the picture before stays; a good one follows."""
    (opened if started else Window.open)(window(), *([] if started else ["playground.html"]))
    before = said(window())
    give(window(), name, content, kind)
    window().page.locator(".playground-message:visible").wait_for()
    assert message(window()) == [UNREADABLE.format(name)]
    assert said(window()) == before
    assert window().page.locator("[aria-pressed=true]").count() == 1
    give(window(), "stripes.png", STRIPES)
    window().page.locator(".playground-message").wait_for(state="hidden")
    assert not [error for error in window().errors if "blob:" not in error]


def test_huge_picture(window):
    """A picture that would fill the memory is refused; a large one is made smaller."""
    opened(window())
    before = said(window())
    give(window(), "huge.png", png(20_000, 20_000, bytes(20_000)))
    window().page.locator(".playground-message:visible").wait_for()
    assert message(window()) == [
        "huge.png has 20,000 x 20,000 pixels. The playground reads at most 64,000,000 pixels: "
        "make the picture smaller first."
    ]
    assert said(window()) == before
    give(window(), "large.png", png(8_000, 7_000, b"\x50" * 8_000))
    status = window().page.locator(".playground-status")
    status.filter(has_text="large.png has 8,000 x 7,000 pixels").wait_for(timeout=30_000)
    assert not message(window())
    assert not window().errors


# The page.


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page(window, scheme, width):
    """Started, with each kind of map, nothing overflows, and everything has a name and a colour."""
    opened(window(scheme), width)
    checks = "nameless", "pale", "overflow", "invisible", "clipped", "broken"
    for left, right in (
        ("cbam", "halo"),
        ("se", "sk"),
        ("dual", "external"),
        ("axial", "bilinear"),
    ):
        choose(window(scheme), "left", left)
        choose(window(scheme), "right", right)
        assert not window(scheme).faults(*checks), (left, right)
    give(window(scheme), "a-name-without-spaces" * 9 + ".txt", b"No picture.", "text/plain")
    window(scheme).page.locator(".playground-message:visible").wait_for()
    assert not window(scheme).faults(*checks)
    boxes = [one.bounding_box() for one in window(scheme).page.locator("section").all()]
    assert (boxes[0]["y"] == boxes[1]["y"]) == (width == DESKTOP)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("assets/playground/index.json", "The playground could not be loaded: 404"),
        ("assets/lib/onnxruntime-web.mjs", "could not be loaded: "),
        ("assets/lib/onnxruntime-web.wasm", "could not be loaded: "),
        ("assets/playground/networks/cbam.onnx", "CBAM could not be loaded: 404"),
    ],
)
def test_missing_file(chromium, other_site, gone, words):
    """What cannot be loaded is said."""
    site, address = other_site
    (site / gone).unlink()
    window = Window(chromium, address)
    window.open("playground.html")
    start = window.page.get_by_role("button", name="Start")
    if start.count():
        start.click()
    window.page.locator("[role=alert]", has_text=words).wait_for()
    window.page.close()
