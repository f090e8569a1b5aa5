"""A browser window on the site."""

from pathlib import Path

DESKTOP, PHONE = 1280, 390
CHECKS = Path(__file__).with_name("checks.js")
DRAWN = """[...document.querySelectorAll(".chart, .costs, .playground")].every(
  (one) => one.querySelector("svg[role=group], dd, canvas, [role=alert]:not([hidden])"))"""
"""Whether charts and playground are drawn and costs computed, on a page that has them."""


EMPTY_INDEX = {
    "config": {"lang": ["en"], "separator": " ", "pipeline": [], "fields": {}},
    "docs": [],
}


class Window:
    """A browser window; `errors` says what went wrong since the page was opened.

    On a page that is opened without `searches` the search finds nothing: every page would read the
    index of all pages, a third of the browser's time.
    """

    def __init__(self, chromium, address, scheme="light"):
        self.address, self.errors, self.searches = address, [], False
        self.page = chromium.new_page(color_scheme=scheme, reduced_motion="reduce")
        self.page.set_default_timeout(20_000)
        self.page.add_init_script(path=CHECKS)
        self.page.route("**/search/search_index.json", self._answer)
        self.page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("requestfailed", lambda one: self.errors.append(f"{one.failure}: {one.url}"))

    def _console(self, message):
        if message.type == "error":
            self.errors.append(f"console: {message.text} {message.location['url']}")

    def _request(self, request):
        if not request.url.startswith((self.address, "data:", "blob:", "about:")):
            self.errors.append(f"asks others: {request.url}")

    def _answer(self, route):
        if self.searches:
            route.continue_()
        else:
            route.fulfill(json=EMPTY_INDEX)

    def open(self, path, width=DESKTOP, *, searches=False):
        """Open a page of the site at its top."""
        self.searches = searches
        self.resize(width)
        self.page.goto("about:blank")
        self.errors.clear()
        self.page.goto(self.address + path)
        self.page.evaluate("new Promise((done) => setTimeout(done, 20))")  # for what comes late
        self.page.wait_for_function(DRAWN)

    def resize(self, width):
        """Make the window as wide as a screen or a phone."""
        self.page.set_viewport_size({"width": width, "height": 800})

    def faults(self, *checks):
        """Return what checks of `checks.js` find."""
        return [fault for name in checks for fault in self.page.evaluate(f"checks.{name}()")]

    def focus(self):
        """Return the name of the element that has the keyboard, and whether one can see so."""
        return self.page.evaluate("checks.focus()")

    def search(self, words):
        """Return the pages that the search box finds, best first."""
        field = self.page.locator(".md-search__input")
        status = self.page.locator(".md-search-result__meta")
        links = self.page.locator(".md-search-result__link")
        for text, answer in (("", "Type to start searching"), (words, "matching document")):
            field.fill(text)
            field.press("End")  # the search waits for keys
            status.filter(has_text=answer).wait_for()
        found = links.evaluate_all("all => all.map((link) => link.href.split(/[?#]/)[0])")
        return [link.removeprefix(self.address) for link in dict.fromkeys(found)]
