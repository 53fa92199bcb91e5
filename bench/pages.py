"""The list page in a browser beside Temporal's own, on the same server with the same filter."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from bench.results import Row, at_least, at_most, measured

ROWS = 100
_TIMEOUT = 30_000  # ms
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


@asynccontextmanager
async def _fresh(browser: Browser, cookies: list[Any]) -> AsyncIterator[Page]:
    """A page in a browser context of its own, so nothing is cached."""
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    try:
        await context.add_cookies(cookies)
        await context.add_init_script(_CLOCK)
        yield await context.new_page()
    finally:
        await context.close()


async def _open(page: Page, url: str) -> float:
    """The page is not queried until it has loaded, as that would slow it down. Playwright's Error when
    the rows do not come."""
    await page.goto(url, wait_until="load", timeout=_TIMEOUT)
    await page.locator("tbody tr").nth(ROWS - 1).wait_for(state="attached", timeout=_TIMEOUT)
    return float(await page.evaluate("window.allRowsAt"))


async def _traffic(page: Page, url: str) -> list[int]:
    """Bytes on the wire of each request."""
    wire, sizes = await page.context.new_cdp_session(page), list[int]()
    await wire.send("Network.enable")
    wire.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    await _open(page, url)
    await page.wait_for_timeout(_SETTLE)
    return sizes


async def _visit(browser: Browser, url: str, cookies: list[Any]) -> float:
    async with _fresh(browser, cookies) as page:
        return await _open(page, url)


async def _weigh(browser: Browser, url: str, cookies: list[Any]) -> list[int]:
    """The first visit, which also warms the server up."""
    async with _fresh(browser, cookies) as page:
        return await _traffic(page, url)


async def measure(ours: str, theirs: str, session: dict[str, Any], rounds: int) -> list[Row]:
    """Both lists in turn, their medians and the ratio of these."""
    own, other = list[float](), list[float]()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"))
        try:
            sizes = await _weigh(browser, ours, [session])
            other_sizes = await _weigh(browser, theirs, [])
            for _ in range(rounds):
                own.append(await _visit(browser, ours, [session]))
                other.append(await _visit(browser, theirs, []))
        finally:
            await browser.close()
    return [
        measured("list page, navigation to 100 rows", median(own), "ms"),
        at_most("list page, requests", len(sizes), "requests", 12),
        at_most("list page, bytes", sum(sizes) / 1000, "kB", 150),
        measured("Temporal Web UI, navigation to 100 rows", median(other), "ms"),
        measured("Temporal Web UI, requests", len(other_sizes), "requests"),
        measured("Temporal Web UI, bytes", sum(other_sizes) / 1000, "kB"),
        at_least("list page, faster than the Temporal Web UI", median(other) / median(own), "x", 8),
    ]
