"""The list page in a browser beside Temporal's own, on the same server with the same filter."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from statistics import median
from typing import Any

from playwright.async_api import Browser, Cookie, Error, async_playwright

from bench.results import Row, at_least, at_most, told

ROWS = 100
_PATIENCE = 30_000  # ms
_SETTLE = 500  # ms in which late requests of the first paint are still counted
# Counts rows by the page's own clock, which starts with the navigation.
_CLOCK = """
(() => {
  const look = () => {
    if (window.allRowsAt === undefined && document.querySelectorAll('tbody tr').length >= ROWS) {
      window.allRowsAt = performance.now();
      watch.disconnect();
    }
  };
  const watch = new MutationObserver(look);
  watch.observe(document, { childList: true, subtree: true });
})();
""".replace("ROWS", str(ROWS))


@dataclass(frozen=True)
class Visit:
    """Milliseconds to the last row, and what it took to get there."""

    ms: float
    requests: int
    bytes: int


async def _visit(browser: Browser, url: str, cookies: list[Any]) -> Visit:
    """One visit in a browser context of its own, so nothing is cached. Playwright's Error without rows."""
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    try:
        await context.add_cookies(cookies)
        await context.add_init_script(_CLOCK)
        page = await context.new_page()
        wire = await context.new_cdp_session(page)
        await wire.send("Network.enable")
        sizes: list[int] = []
        wire.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
        await page.goto(url, wait_until="commit")
        await page.locator("tbody tr").nth(ROWS - 1).wait_for(state="attached", timeout=_PATIENCE)
        await page.wait_for_load_state("load")
        await page.wait_for_timeout(_SETTLE)
        ms = float(await page.evaluate("window.allRowsAt"))
        return Visit(ms, len(sizes), sum(sizes))
    finally:
        await context.close()


async def _visits(browser: Browser, url: str, cookies: list[Any], rounds: int) -> Visit:
    """The medians of several, after one that warms the server up."""
    seen = [await _visit(browser, url, cookies) for _ in range(rounds + 1)][1:]
    return Visit(
        median(one.ms for one in seen),
        round(median(one.requests for one in seen)),
        round(median(one.bytes for one in seen)),
    )


async def measure(ours: str, theirs: str, session: Cookie | dict[str, Any], rounds: int) -> list[Row]:
    """Both lists, the one right after the other, and their ratio."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"))
        try:
            own = await _visits(browser, ours, [session], rounds)
            try:
                other = await _visits(browser, theirs, [], rounds)
            except Error as error:
                other = None
                print(f"Temporal Web UI: {str(error).splitlines()[0]}")
        finally:
            await browser.close()
    rows = [
        told("list page, navigation to 100 rows", own.ms, "ms"),
        at_most("list page, requests", own.requests, "requests", 12),
        at_most("list page, bytes", own.bytes / 1000, "kB", 150),
    ]
    if other is None:
        return [*rows, Row("list page, faster than the Temporal Web UI", None, "x", "at least 8", False)]
    return [
        *rows,
        told("Temporal Web UI, navigation to 100 rows", other.ms, "ms"),
        told("Temporal Web UI, requests", other.requests, "requests"),
        told("Temporal Web UI, bytes", other.bytes / 1000, "kB"),
        at_least("list page, faster than the Temporal Web UI", other.ms / own.ms, "x", 8),
    ]
