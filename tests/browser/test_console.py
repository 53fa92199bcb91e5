"""The console in Chromium: people decide, pages stay current, and nothing breaks the policy."""

from __future__ import annotations

import re
import uuid

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Shop, Visitor, sign_in

PATIENCE = 15_000  # ms: a workflow has to come through a worker on a busy machine
PAGES = ["/", "/workflows/", "/approvals/", "/breakers/", "/workers/", "/audit/"]
WIDTHS = (320, 390, 768, 1400, 2560)
MAX_REQUESTS = 12
MAX_BYTES = 150_000


@pytest.fixture(scope="module", autouse=True)
def settled(shop: Shop) -> dict[str, str]:
    """Orders in different conditions, so that no page is empty."""
    return {
        "delivered": shop.order(),
        "waiting": shop.order(150_000),
        "waiting for two": shop.order(2_000_000, customer_name="Zürich <Werke> & Söhne"),
        "declined": shop.order(customer_id="declined-1"),
    }


def applied(page: Page) -> None:
    expect(page.get_by_text("Applied").first).to_be_visible(timeout=PATIENCE)


def until(page: Page, path: str, text: str) -> None:
    """Open a page again until it shows a text; for pages without scripts, and for eventual visibility."""
    for _ in range(60):
        page.goto(path)
        if page.get_by_text(text).count():
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"{path} does not show {text!r}:\n{page.locator('main').inner_text()}")


def test_somebody_signs_in_sees_the_list_and_signs_out(visit: Visitor, settled, it):
    me = visit()
    page = me.go("/workflows/")
    assert "/login/" in page.url
    sign_in(page, it.url, "viewer")
    until(page, f"{it.url}/workflows/", settled["waiting"])
    page.get_by_text("viewer", exact=True).first.click()
    page.get_by_role("button", name="Sign out").first.click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "/login/" in me.go("/workflows/").url


def test_an_approver_approves_and_the_run_goes_on_before_their_eyes(visit: Visitor, shop: Shop):
    order = shop.order(150_000)
    approver = visit("approver")
    until(approver.page, f"{approver.url}/approvals/?w={order}", "vote is missing")
    watcher = visit("viewer")
    until(watcher.page, f"{watcher.url}/workflows/{order}/", "Waiting")
    approver.page.get_by_role("button", name="Approve").click()
    applied(approver.page)
    # No reload: the region follows.
    expect(watcher.page.locator("main").get_by_text("Completed").first).to_be_visible(timeout=PATIENCE)


def test_an_operator_cancels_and_must_say_why(visit: Visitor, shop: Shop):
    order = shop.order(150_000)
    me = visit("operator")
    me.expected = [r"status of 422"]
    page = me.page
    until(page, f"{me.url}/workflows/{order}/", "Waiting")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("A reason is needed")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_label("Reason")).to_be_focused()
    page.get_by_label("Reason").fill("The customer called.")
    page.get_by_role("button", name="Cancel").click()
    applied(page)
    until(page, f"{me.url}/workflows/{order}/", "Cancelled")


def test_without_scripts_an_order_is_approved_all_the_same(visit: Visitor, shop: Shop):
    order = shop.order(150_000)
    me = visit("approver", java_script_enabled=False)
    until(me.page, f"{me.url}/approvals/?w={order}", "vote is missing")
    me.page.get_by_label("Reason").fill("Known customer.")
    me.page.get_by_role("button", name="Approve").click()
    expect(me.page.locator(".note[role=status]")).to_contain_text(f"Approved {order}", timeout=PATIENCE)
    until(me.page, f"{me.url}/workflows/{order}/", "Completed")


def test_without_scripts_a_rejection_without_reason_keeps_the_form(visit: Visitor, shop: Shop):
    order = shop.order(150_000)
    me = visit("approver", java_script_enabled=False)
    me.expected = [r"status of 422"]
    until(me.page, f"{me.url}/approvals/?w={order}", "vote is missing")
    me.page.get_by_role("button", name="Reject").click()
    expect(me.page.get_by_text("A reason is needed")).to_be_visible()
    me.page.get_by_label("Reason").fill("Wrong address.")
    me.page.get_by_role("button", name="Reject").click()
    expect(me.page.locator(".note[role=status]")).to_contain_text(f"Rejected {order}", timeout=PATIENCE)


def test_the_list_is_narrowed_by_a_keyword(visit: Visitor, shop: Shop):
    customer = f"c-{uuid.uuid4().hex[:8]}"
    order, other = shop.order(customer_id=customer), shop.order()
    me = visit("viewer")
    until(me.page, f"{me.url}/workflows/", other)
    me.page.get_by_text("Add filter").click()
    me.page.get_by_label("Query").fill(f"CustomerId = '{customer}'")
    me.page.get_by_role("button", name="Show").click()
    expect(me.page.get_by_role("link", name=order)).to_be_visible(timeout=PATIENCE)
    expect(me.page.get_by_role("link", name=other)).to_have_count(0)
    assert "CustomerId" in me.page.url


def test_a_row_of_the_filter_follows_the_type_of_its_attribute(visit: Visitor):
    me = visit("viewer")
    page = me.go("/workflows/")
    page.get_by_text("Add filter").click()
    row = page.locator("[data-term]").first
    row.get_by_label("Attribute").select_option("Deadline")
    expect(row.get_by_label("Value (UTC)")).to_have_attribute("type", "datetime-local")
    row.get_by_label("Attribute").select_option("WaitingFor")
    expect(row.get_by_label("Is").locator("option")).to_have_text(["=", "!=", "IS NULL", "IS NOT NULL"])
    expect(row.get_by_label("Value", exact=True)).to_have_attribute("type", "text")
    row.get_by_label("Is").select_option("IS NULL")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_label("Remove: WaitingFor IS NULL")).to_be_visible(timeout=PATIENCE)


def test_the_overview_follows_and_keeps_the_focus(visit: Visitor, shop: Shop):
    me = visit("viewer")
    page = me.go("/")
    link = page.locator(".station > a").nth(2)
    before = int(link.locator("b").inner_text())
    link.focus()
    shop.order(150_000)
    expect(link.locator("b")).to_have_text(str(before + 1), timeout=PATIENCE)
    assert page.evaluate("document.activeElement === document.querySelectorAll('.station > a')[2]")


def test_a_lost_connection_is_told_and_the_page_stays(visit: Visitor):
    me = visit("viewer")
    me.expected = [r"ERR_INTERNET_DISCONNECTED", r"Failed to fetch"]
    page = me.go("/")
    expect(page.locator("#live")).to_contain_text("Live")
    page.context.set_offline(True)
    expect(page.locator("#live")).to_contain_text(re.compile(r"Reconnecting.*old"), timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator("#live")).to_contain_text("Live", timeout=PATIENCE)


def test_an_outage_opens_the_breaker_holds_orders_and_heals(visit: Visitor, shop: Shop):
    prefix = uuid.uuid4().hex[:6]
    me = visit("viewer")
    page = me.go("/breakers/")
    shop.fault("payments", "outage", order_prefix=prefix)
    try:
        for at in range(6):
            shop.order(order_id=f"{prefix}-{at}")
        card = page.locator("#breaker-payments")
        expect(card).to_contain_text("Open", timeout=30_000)
        expect(card).to_contain_text("Holds", timeout=30_000)
        held = card.get_by_role("link", name=re.compile("Holds")).get_attribute("href")
        assert held
        assert "breaker%3Apayments" in held
    finally:
        shop.fault("payments", "none")
    expect(card).to_contain_text("Closed", timeout=45_000)
    until(page, f"{me.url}/workflows/order-{prefix}-0/", "Completed")


def test_a_form_on_a_card_stays_while_the_card_follows(visit: Visitor):
    me = visit("operator")
    page = me.go("/breakers/")
    card = page.locator("#breaker-payments")
    card.get_by_text("Operate this breaker").click()
    reason = card.get_by_label("Reason")
    reason.fill("Their status page says so.")
    with page.expect_response(re.compile("/ns/default/breakers/")):
        pass
    with page.expect_response(re.compile("/ns/default/breakers/")):
        pass
    expect(reason).to_have_value("Their status page says so.")
    card.get_by_role("button", name="Force open").click()
    expect(card.locator(".decision")).to_contain_text("Applied", timeout=PATIENCE)
    expect(card).to_contain_text("then it is released", timeout=PATIENCE)
    page.reload()
    card.get_by_text("Operate this breaker").click()
    reason.fill("They answer again.")
    card.get_by_role("button", name="Release").click()
    expect(card.locator(".decision")).to_contain_text("Applied", timeout=PATIENCE)
    expect(card).not_to_contain_text("then it is released", timeout=PATIENCE)


def test_the_workers_page_knows_who_polls(visit: Visitor, it):
    me = visit("viewer")
    page = me.go("/workers/")
    expect(page.get_by_role("cell", name="order-queue", exact=True).first).to_be_visible()
    expect(page.get_by_text("Polling").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("no worker polls")).to_have_count(0)


def test_keys_lead_to_forms_and_never_submit(visit: Visitor, settled):
    me = visit("approver")
    until(me.page, f"{me.url}/approvals/", settled["waiting"])
    first = me.page.locator("#chosen h2").inner_text()
    me.page.keyboard.press("j")
    expect(me.page.locator("#chosen h2")).not_to_have_text(first)
    me.page.get_by_label("Reason").focus()
    me.page.keyboard.type("j a r")
    expect(me.page.get_by_label("Reason")).to_have_value("j a r")


def test_the_theme_follows_the_system_until_somebody_chooses(visit: Visitor):
    me = visit("viewer", color_scheme="dark")
    page = me.go("/")

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = ground()
    page.get_by_text("viewer", exact=True).first.click()
    page.get_by_role("button", name="Theme").first.click()
    light = ground()
    assert light != dark
    me.go("/breakers/")
    assert ground() == light
    assert page.locator("html").get_attribute("data-theme") == "light"


def violations(page: Page) -> list[tuple[str, str, list[str]]]:
    """What axe finds in both themes, of whatever impact."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += [
            (scheme, item["id"], [node["html"][:200] for node in item["nodes"]][:5])
            for item in Axe().run(page).response["violations"]
        ]
    return found


@pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
@pytest.mark.parametrize("path", [*PAGES, "/workflows/?q=nonsense+(", "/nowhere/", "run"])
def test_every_page_is_open_to_all_readers(visit: Visitor, settled, path, role):
    me = visit(role)
    me.expected = [r"status of 40[034]"]
    page = me.go(f"/workflows/{settled['waiting']}/" if path == "run" else path)
    assert violations(page) == []


def test_what_opens_later_is_open_to_all_readers_too(visit: Visitor, settled):
    assert violations(visit().go("/login/")) == []
    me = visit("viewer", width=390)
    me.go(f"/workflows/{settled['declined']}/")
    me.page.get_by_text("More", exact=True).click()
    me.page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(me.page.get_by_role("dialog")).to_be_visible()
    assert violations(me.page) == []


def test_the_pages_of_an_action_are_open_to_all_readers(visit: Visitor, shop: Shop):
    """Those that come where htmx does not: a form with an error, and the verdict."""
    order = shop.order(150_000)
    me = visit("operator")
    me.expected = [r"ERR_FAILED", r"status of 422", r"not defined"]
    me.page.route(re.compile("htmx"), lambda route: route.abort())
    until(me.page, f"{me.url}/workflows/{order}/", "Waiting")
    me.page.get_by_role("button", name="Cancel").click()
    expect(me.page.get_by_text("A reason is needed")).to_be_visible(timeout=PATIENCE)
    assert violations(me.page) == []
    me.page.get_by_label("Reason").fill("The customer called.")
    me.page.get_by_role("button", name="Cancel").click()
    expect(me.page.locator("main > .note[role=status]")).to_contain_text(order, timeout=PATIENCE)
    assert violations(me.page) == []


def test_single_keys_are_listed_and_can_be_switched_off(visit: Visitor, settled):
    me = visit("approver")
    until(me.page, f"{me.url}/approvals/?w={settled['waiting']}", "vote is missing")
    me.page.keyboard.press("?")
    dialog = me.page.get_by_role("dialog", name="Keyboard shortcuts")
    for text in ("Next", "Approve", "Reject"):
        expect(dialog.get_by_text(text, exact=True)).to_be_visible()
    dialog.get_by_label("Use single keys").uncheck()
    dialog.get_by_role("button", name="Close").click()
    me.page.keyboard.press("r")
    expect(me.page.get_by_label("Reason")).not_to_be_focused()
    me.page.reload()
    me.page.keyboard.press("?")
    expect(dialog).to_be_hidden()
    me.page.get_by_text("approver", exact=True).first.click()
    me.page.get_by_role("button", name="Keyboard shortcuts").first.click()
    dialog.get_by_label("Use single keys").check()
    dialog.get_by_role("button", name="Close").click()
    me.page.keyboard.press("r")
    expect(me.page.get_by_label("Reason")).to_be_focused()


def test_what_phones_hide_can_be_shown(visit: Visitor, settled):
    page = visit("viewer", width=390).go("/workflows/")
    started = page.locator('td[data-l="Started"]').first
    expect(started).to_be_hidden()
    page.get_by_label("All columns").check()
    expect(started).to_be_visible()
    with page.expect_response(re.compile("/workflows/")):
        pass
    expect(started).to_be_visible()


def test_refreshing_is_paused_and_goes_on(visit: Visitor, shop: Shop):
    page, other = visit("viewer").go("/workflows/"), visit("viewer").go("/workflows/")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live")).to_contain_text("Paused")
    order = shop.order()
    expect(other.get_by_role("link", name=order)).to_be_visible(timeout=PATIENCE)
    with other.expect_response(re.compile("/workflows/")):  # another interval
        pass
    expect(page.get_by_role("link", name=order)).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("link", name=order)).to_be_visible(timeout=PATIENCE)


def test_without_scripts_there_is_a_link_to_refresh(visit: Visitor):
    page = visit("viewer", java_script_enabled=False).go("/workflows/?type=OrderWorkflow")
    page.get_by_role("link", name="Refresh").click()
    assert page.url.endswith("?type=OrderWorkflow")


@pytest.mark.parametrize("path", [*PAGES, "/login/", "run"])
def test_no_page_is_wider_than_the_screen(visit: Visitor, settled, path):
    me = visit("operator")
    page = me.go(f"/workflows/{settled['waiting for two']}/" if path == "run" else path)
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found[width] = page.evaluate("document.documentElement.scrollWidth")
    assert found == {width: width for width in WIDTHS}


def test_the_list_is_light(visit: Visitor):
    """By the browser's own count, on a first visit: at most 12 requests and 150 kB."""
    me = visit("viewer")
    page = me.go("/workflows/")
    page.wait_for_load_state("load")
    script = """() => performance.getEntries()
        .filter((entry) => 'transferSize' in entry && entry.initiatorType !== 'fetch')
        .map((entry) => [entry.name, entry.transferSize])"""
    found = page.evaluate(script)
    assert len(found) <= MAX_REQUESTS
    assert sum(size for _, size in found) <= MAX_BYTES, found
