"""Chromium, and visitors who are signed in. Skipped, with the reason, where there is no Chromium."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.processes import PASSWORD, SUPERUSER, Console, console

WIDTH, HEIGHT = 1400, 900


@pytest.fixture(scope="session")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The console with everything around it."""
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed")
    with console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(it: Console) -> Iterator[Browser]:
    """The browser. Of a module only: while Playwright runs, no other test may use an event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


class Shop:
    """Places orders by the JSON API, as a customer's system does."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.http = httpx.Client(base_url=console.url, follow_redirects=True, timeout=30)
        self.http.get("/login/")
        form = {
            "username": SUPERUSER,
            "password": PASSWORD,
            "csrfmiddlewaretoken": self.http.cookies["csrftoken"],
        }
        assert self.http.post("/login/", data=form).url.path == "/ns/default/"

    def order(self, total_minor: int = 5000, **fields: Any) -> str:
        """Place one; its workflow id. From 1,000.00 on an order waits for an approval."""
        order_id = fields.pop("order_id", uuid.uuid4().hex[:12])
        body = {
            "order_id": order_id,
            "customer_id": "c-1",
            "customer_name": "Aster & Vale",
            "lines": [{"sku": "SKU-1", "quantity": 1, "unit_minor": total_minor}],
            "total_minor": total_minor,
            **fields,
        }
        answer = self.http.post(
            "/api/orders/", json=body, headers={"X-CSRFToken": self.http.cookies["csrftoken"]}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["workflow_id"])

    def fault(self, service: str, mode: str, **fields: Any) -> None:
        """Make a service of the outside world misbehave; `none` heals it."""
        answer = httpx.put(f"{self.console.sandbox}/faults/{service}", json={"mode": mode, **fields})
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="session")
def shop(it: Console) -> Shop:
    return Shop(it)


@dataclass
class Visit:
    """A page with what went wrong on it. `expected`: patterns of console errors that a test provokes."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Collect console errors (violations of the content security policy are such) and exceptions."""
        self.page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        self.page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def unexpected(self) -> list[str]:
        return [text for text in self.problems if not any(re.search(item, text) for item in self.expected)]


Visitor = Callable[..., Visit]


def sign_in(page: Page, url: str, name: str) -> None:
    """By the form."""
    page.goto(f"{url}/login/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/ns/default/")


@pytest.fixture(scope="module")
def sessions(chromium: Browser, it: Console) -> dict[str, Any]:
    """Cookies of the demo users, signed in once each."""
    found = {}
    for name in ("viewer", "operator", "approver", "finance"):
        context = chromium.new_context()
        sign_in(context.new_page(), it.url, name)
        found[name] = context.storage_state()
        context.close()
    return found


@pytest.fixture
def visit(chromium: Browser, it: Console, sessions: dict[str, Any]) -> Iterator[Visitor]:
    """`visit("approver", width=320, java_script_enabled=False)`; afterwards nothing may be on the console."""
    open_contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def begin(name: str = "", width: int = WIDTH, height: int = HEIGHT, **options: Any) -> Visit:
        state = sessions[name] if name else None
        context = chromium.new_context(
            viewport={"width": width, "height": height}, storage_state=state, **options
        )
        open_contexts.append(context)
        visits.append(Visit(context.new_page(), it.url))
        visits[-1].watch()
        return visits[-1]

    yield begin
    for context in open_contexts:
        context.close()
    assert [item.unexpected() for item in visits if item.unexpected()] == []
