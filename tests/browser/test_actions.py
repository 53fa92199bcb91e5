"""Actions in Chromium: what fails is said beside the button, and forms follow the state of the run."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Shop, Visit, Visitor, sign_in
from tests.browser.test_console import PATIENCE, until

TYPED = "The customer called."


def waiting(visit: Visitor, shop: Shop, name: str = "operator") -> tuple[Visit, str]:
    """A visit to the page of an order that waits for an approval, with a reason typed."""
    order = shop.order(150_000)
    me = visit(name)
    until(me.page, f"{me.url}/workflows/{order}/", "Waiting")
    me.page.get_by_label("Reason").first.fill(TYPED)
    return me, order


def kept(page: Page, note: str) -> None:
    """The form says what happened, and the text is still there."""
    expect(page.locator("form.decision > .note").first).to_contain_text(note, timeout=PATIENCE)
    expect(page.get_by_label("Reason").first).to_have_value(TYPED)


def cancel(page: Page) -> None:
    page.get_by_role("button", name="Cancel").click()


def test_no_answer_is_told_in_the_form_and_the_next_try_counts_once(visit: Visitor, shop: Shop):
    me, order = waiting(visit, shop)
    me.expected = ["ERR_FAILED", "Failed to fetch"]
    me.page.route(re.compile("/action/"), lambda route: route.abort())
    cancel(me.page)
    kept(me.page, "No answer came. Send it again: it counts once.")
    cancel(me.page)
    kept(me.page, "No answer came.")
    expect(me.page.locator("form.decision > .note")).to_have_count(1)
    me.page.unroute(re.compile("/action/"))
    cancel(me.page)
    expect(me.page.locator(".decision[role=status]")).to_contain_text("Applied", timeout=PATIENCE)
    until(me.page, f"{me.url}/workflows/{order}/", "Cancelled")


def test_the_page_of_a_proxy_does_not_replace_the_form(visit: Visitor, shop: Shop):
    me, _ = waiting(visit, shop)
    me.expected = ["status of 502"]

    def bad_gateway(route: Route) -> None:
        route.fulfill(status=502, content_type="text/html", body="<h1>Bad gateway</h1>")

    me.page.route(re.compile("/action/"), bad_gateway)
    cancel(me.page)
    kept(me.page, "The answer was not the console's (502).")


def test_after_the_session_has_ended_nothing_typed_is_lost(visit: Visitor, shop: Shop, it):
    me, _ = waiting(visit, shop)
    me.expected = ["status of 401", "status of 403"]
    me.page.context.clear_cookies(name="sessionid")
    expect(me.page.locator("#live")).to_contain_text("Signed out", timeout=PATIENCE)
    expect(me.page.locator("#sign-in")).to_be_visible()
    cancel(me.page)
    kept(me.page, "You are signed out, so nothing was sent.")
    expect(me.page.locator("form.decision").get_by_role("link", name="Sign in")).to_be_visible()
    sign_in(me.page.context.new_page(), it.url, "operator")
    expect(me.page.locator("#live")).to_contain_text("Live", timeout=PATIENCE)
    cancel(me.page)
    kept(me.page, "this form is older than your login")
    cancel(me.page)
    expect(me.page.locator(".decision[role=status]")).to_contain_text("Applied", timeout=PATIENCE)


def test_two_clicks_are_one_request(visit: Visitor, shop: Shop):
    me, _ = waiting(visit, shop)
    sent: list[str] = []
    me.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    me.page.get_by_role("button", name="Cancel").dblclick()
    expect(me.page.locator(".decision[role=status]")).to_contain_text("Applied", timeout=PATIENCE)
    expect(me.page.locator(".decision[role=status]")).to_be_focused()
    assert len(sent) == 1


def test_forms_follow_what_others_do_and_take_along_what_is_typed(visit: Visitor, shop: Shop):
    order = shop.order(2_000_000)  # two votes
    me, other = visit("approver"), visit("finance")
    for page in (me.page, other.page):
        until(page, f"{me.url}/workflows/{order}/", "2 votes are missing")
    me.page.get_by_label("Reason").first.fill(TYPED)
    me.page.get_by_label("Reason").first.focus()
    other.page.get_by_role("button", name="Approve").click()
    expect(other.page.locator(".decision[role=status]")).to_contain_text("Applied", timeout=PATIENCE)
    # Their own form follows, the answer stays; mine stays as it is, as I may vote still.
    expect(other.page.get_by_text("You have voted already.").first).to_be_visible(timeout=PATIENCE)
    expect(other.page.locator(".decision[role=status]")).to_contain_text("Applied")
    expect(me.page.get_by_text("One vote is missing").first).to_be_visible(timeout=PATIENCE)
    expect(me.page.get_by_label("Reason").first).to_have_value(TYPED)
    expect(me.page.get_by_label("Reason").first).to_be_focused()
    me.page.get_by_role("button", name="Approve").click()
    expect(me.page.locator("form.decision")).to_have_count(0, timeout=PATIENCE)
    expect(me.page.locator(".decision[role=status]")).to_contain_text("Approved")
    assert me.page.locator("[data-forms] ~ .split").count() == 1, "read in the order in which it is seen"
