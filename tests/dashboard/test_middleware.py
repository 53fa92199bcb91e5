"""Headers of every response, and templates that keep to the content security policy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpResponse
from django.test import RequestFactory

from dashboard.conf import ROOT
from dashboard.web.middleware import request_id, security_headers

FOLDERS = ("templates", "dashboard/templates", "orders/templates")
TEMPLATES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.html"))
# What htmx 4 dropped or renamed, after the rules of its upgrade check.
GONE_IN_HTMX_4 = (
    r"\bhx-on:(htmx:)?(after|before)[A-Z-]",
    r"\bhx-(ws|sse|vars|ext|params|prompt|disinherit|inherit|request|history|history-elt)\b",
    r"\bhx-disabled-elt\b",
    r"\bhx-disable\b(?!=)",
    r"hx-trigger=\"[^\"]*\b(sse|ws):",
    r"\bhtmx:(afterSwap|beforeSwap|afterRequest|beforeRequest|configRequest|responseError|sendError)\b",
    r"hx-swap=\"morph",
)
# The sandbox is a service of its own without logins; it plays the outside world.
WITHOUT_SESSION = {"sandbox.html"}
NOT_ALLOWED = {
    "style attribute": r"\sstyle\s*=",
    "style element": r"<style\b",
    "inline handler": r"<[^>]*\son[a-z]+\s*=",
    "inline script": r"<script(?![^>]*\bsrc=)",
    "script address": r"javascript:",
    "evaluated attribute": r"\bhx-on\b|\bjs:",
    "file of another site": r"<(?:link|script|img)\b[^>]*(?:href|src)=\"(?:https?:)?//",
}


def markup(file: Path) -> str:
    return re.sub(r"{#.*?#}|{% comment.*?endcomment %}", "", file.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_template_has_nothing_inline(file):
    text = markup(file)
    found = {what: re.findall(rule, text) for what, rule in NOT_ALLOWED.items() if re.search(rule, text)}
    assert found == {}


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_template_speaks_htmx_4(file):
    assert [rule for rule in GONE_IN_HTMX_4 if re.search(rule, markup(file))] == []


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_form_that_posts_has_its_token(file):
    forms = re.findall(r"<form\b[^>]*method=\"?post\"?.*?</form>", markup(file), re.DOTALL | re.IGNORECASE)
    tokenless = [form for form in forms if "{% csrf_token %}" not in form]
    assert tokenless == [] or file.name in WITHOUT_SESSION


def test_the_rules_can_fail():
    bad = '<div style="x"><a onclick="y()"></a><script>1</script><style></style>'
    assert {what for what, rule in NOT_ALLOWED.items() if re.search(rule, bad)} == {
        "style attribute",
        "style element",
        "inline handler",
        "inline script",
    }
    assert TEMPLATES


def test_headers_in_both_modes(settings):
    request = RequestFactory().get("/ns/default/", headers={"X-Request-ID": "from-proxy-1"})
    seen = []

    def sync_view(request):
        seen.append(request_id.get())
        return HttpResponse("ok")

    response = cast(HttpResponse, security_headers(sync_view)(request))
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response["Cache-Control"] == "no-store"
    assert seen == [response["X-Request-ID"]]
    assert re.fullmatch(r"[0-9a-f]{32}", seen[0])


async def test_headers_without_a_thread():
    async def view(request):
        return HttpResponse("ok", headers={"Cache-Control": "max-age=5"})

    middleware: Any = security_headers(view)
    assert iscoroutinefunction(middleware)
    response = await middleware(RequestFactory().get("/ns/default/"))
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Cache-Control"] == "max-age=5"
