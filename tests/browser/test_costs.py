"""The cost sliders: the numbers of JavaScript are those of Python; wrong input is explained."""

import attn_command  # noqa: F401 - first: attn_core then loads no Keras
import pytest
from attn_core import catalog
from attn_core.catalog import EXAMPLE, MECHANISMS, Size
from browser.windows import PHONE
from cost_settings import settings, unmet

COMPUTE = """async ([key, settings]) => {
  const { load, costs } = globalThis.attnCosts;
  const mechanism = (await load()).mechanisms.find((one) => one.key === key);
  return settings.map(([size, options]) => costs(mechanism, size, options));
}"""


def sides(size):
    return {"H": size.height, "W": size.width, "C": size.channels}


@pytest.fixture(scope="module")
def choosing(window):
    window().open("choose.html")
    return window()


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda one: one.key)
def test_numbers(choosing, mechanism):
    """The numbers are those of Python, at the example's size and at random ones."""
    given = [(EXAMPLE, {}), (Size(112, 112, 512), {}), *settings(mechanism, 8)]
    given = [one for one in given if not unmet(mechanism, *one)]
    argument = [mechanism.key, [[sides(size), options] for size, options in given]]
    assert len(given) >= 9
    for (size, options), found in zip(
        given, choosing.page.evaluate(COMPUTE, argument), strict=True
    ):
        formulas = mechanism.parameters, mechanism.multiply_adds, mechanism.maps
        expected = [mechanism.evaluate(formula, size, **options) for formula in formulas]
        numbers = [found["parameters"], found["multiplyAdds"], found["maps"] / 4]
        assert numbers == pytest.approx(expected, rel=1e-15, abs=0), (size, options)
        assert found["weights"] == 4 * found["parameters"]
        assert not found["unmet"]


@pytest.mark.parametrize(
    "mechanism", [one for one in MECHANISMS if one.needs], ids=lambda one: one.key
)
def test_conditions(choosing, mechanism):
    """What a mechanism needs and does not get is said, once for each condition."""
    given = settings(mechanism, 8, valid=False)
    argument = [mechanism.key, [[sides(size), options] for size, options in given]]
    for one, found in zip(given, choosing.page.evaluate(COMPUTE, argument), strict=True):
        assert len(found["unmet"]) == len(unmet(mechanism, *one)), one
        assert all("{" not in said for said in found["unmet"])


def results(window):
    """Return the numbers that the sliders of a page show, and the ranks."""
    cells = window.page.locator(".costs dd").all_inner_texts()
    return cells[::2], cells[1::2]


def message(window):
    return window.page.locator(".costs [role=alert]:visible").all_inner_texts()


@pytest.mark.parametrize("width", [1280, PHONE])
def test_boxes(window, width):
    """Typed numbers change the costs and the ranks among those that take the size."""
    window().open("mechanisms/dot-product.html", width)
    page = window().page
    for label, value in (("height", 20), ("channels", 64), ("num_heads", 4)):
        page.get_by_label(label, exact=True).fill(str(value))
    size, dot = Size(20, EXAMPLE.width, 64), catalog.get("dot-product")
    weights = round(dot.evaluate(dot.parameters, size))
    numbers, ranks = results(window())
    assert numbers[:2] == [f"{weights:,}", f"{round(dot.evaluate(dot.multiply_adds, size)):,}"]
    assert numbers[2:] == ["65 KB", "1.2 MB"]  # of 16,640 weights and 4 maps of 280 x 280
    others = [one for one in MECHANISMS if one is not dot and not unmet(one, size, {})]
    less = sum(one.evaluate(one.parameters, size) < weights for one in others)
    assert len(others) < len(MECHANISMS) - 1
    assert ranks[0] == f"{less + 1} of {len(others) + 1}, from the least"
    assert not message(window())
    assert not window().errors


def test_slider_by_keyboard(window):
    window().open("mechanisms/se.html")
    page = window().page
    slider = page.get_by_label("channels, slider", exact=True)
    slider.focus()
    assert window().focus()["ring"]
    slider.press("ArrowRight")
    assert page.get_by_label("channels", exact=True).input_value() == "257"
    assert results(window())[0][0] == f"{2 * 257 * 16:,}"
    slider.press("End")
    assert results(window())[0][0] == f"{2 * 1024 * 64:,}"


WHOLE = "must be a whole number from 1 to"


@pytest.mark.parametrize(
    ("label", "text", "words"),
    [
        ("height", "", f"height {WHOLE} 1,024. Received: nothing that is a number."),
        ("width", "-3", f"width {WHOLE} 1,024. Received: -3."),
        ("channels", "0", f"channels {WHOLE} 8,192. Received: 0."),
        ("channels", "99999999", f"channels {WHOLE} 8,192. Received: 99999999."),
        ("height", "2.5", f"height {WHOLE} 1,024. Received: 2.5."),
        ("num_heads", "7", "the channels (256) must be divisible by num_heads (7)."),
        ("height", "15", "the height (15) must be divisible by block_size (7)."),
        ("halo_size", "-1", "halo_size must be a whole number from 0 to 4,096. Received: -1."),
    ],
)
def test_wrong_input(window, label, text, words):
    window().open("mechanisms/halo.html")
    box = window().page.get_by_label(label, exact=True)
    before = box.input_value()
    box.fill(text)
    assert message(window()) == [f"HaloAttention: {words}"]
    assert not window().page.locator(".costs dl").is_visible()
    assert not window().faults("pale", "overflow", "nameless")
    box.fill(before)
    assert not message(window())
    assert results(window())[0]


def test_choosing(window):
    """The page Choose has sliders for every mechanism."""
    window().open("choose.html")
    page = window().page
    select = page.get_by_label("Mechanism", exact=True)
    assert select.locator("option").all_inner_texts() == [one.name for one in MECHANISMS]
    for mechanism in (catalog.get("external"), catalog.get("agent")):
        select.select_option(mechanism.key)
        labels = page.locator(".cost span").all_inner_texts()
        assert labels == ["height", "width", "channels", *mechanism.options]
        number = round(mechanism.evaluate(mechanism.multiply_adds))
        assert results(window())[0][1] == f"{number:,}"
    assert not window().errors
