"""Measure in Chromium how long the playground takes, into docs/data/playground.json.

nox -s docs playground      on a machine that does nothing else
"""

import json
import shutil
import sys
from pathlib import Path
from statistics import median

from browser.conftest import SITE, served
from playwright.sync_api import Page, sync_playwright

from benchmarks import machine

TIMES = Path(__file__).parents[2] / "docs" / "data" / "playground.json"
REPEATS = 5
READY = """(key) => performance.getEntriesByName("playground: run")
  .some(({ detail }) => detail === key)"""
MEASURES = """(name) => performance.getEntriesByName(`playground: ${name}`)
  .map(({ detail, duration }) => [detail, duration])"""


def measured(page: Page, address: str) -> dict[str, dict[str, float]]:
    """Start, choose every mechanism, and return what the page measured, in milliseconds."""
    page.goto(address)
    page.get_by_role("button", name="Start").click()
    page.locator(".playground-status", has_text="were loaded in").wait_for()
    mechanisms = page.get_by_label("Mechanism, left")
    for key in mechanisms.locator("option").evaluate_all("all => all.map((one) => one.value)"):
        mechanisms.select_option(key)
        page.wait_for_function(READY, arg=key)
    return {name: dict(page.evaluate(MEASURES, name)) for name in ("start", "load", "run")}


def medians(found: list[dict[str, dict[str, float]]], name: str) -> dict[str, float]:
    """Return the median of each time of one kind over all repeats."""
    return {key: median(one[name][key] for one in found) for key in found[0][name]}


def main() -> int:
    """Measure in new browsers, which have nothing in their caches; return the exit status."""
    if complaint := machine.complaint():
        print(complaint)
        return 1
    found = []
    with sync_playwright() as playwright, served(SITE) as address:
        for _ in range(REPEATS):
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            version = browser.version
            found.append(measured(browser.new_page(), f"{address}playground.html"))
            browser.close()
    (start,) = medians(found, "start").values()
    load, run = medians(found, "load"), medians(found, "run")
    times = {
        "start": start,
        "load": median(load.values()),
        "run": median(run.values()),
        "slowest": max(load[key] + run[key] for key in load),
    }
    about = {"machine": machine.name(), "chromium": version, "mechanisms": len(run)}
    about |= {name: round(time, 1) for name, time in times.items()}
    TIMES.write_text(json.dumps(about, indent=1) + "\n")
    print(about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
