"""Sign in and out. django-axes counts failures by name and address, and locks both for a while after five."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from axes.helpers import get_cool_off
from django.conf import settings
from django.contrib.auth import alogin, alogout
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST


def safe_next(request: HttpRequest, default: str) -> str:
    """Where `next` leads, if that is a path of this site, else `default` (a URL or the name of a route)."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
        return wanted
    return resolve_url(default)


def to_login(request: HttpRequest) -> HttpResponse:
    """Send a request without a login to the form; that leads back to the page, never to the address of an
    action. A region of a page stays as it is, and the page says so: a viewer may be typing on it."""
    if request.headers.get("HX-Request"):
        return HttpResponse(status=401, headers={"HX-Reswap": "none"})
    here = request.get_full_path()
    if request.method != "GET":
        referer = request.headers.get("Referer", "")
        parts = urlsplit(referer)
        here = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if not url_has_allowed_host_and_scheme(referer, {request.get_host()}):
            here = "/"
    return redirect_to_login(here, settings.LOGIN_URL)


@require_http_methods(["GET", "HEAD", "POST"])
async def sign_in(request: HttpRequest) -> HttpResponse:
    """The form; back to `next` once signed in."""
    target = safe_next(request, settings.LOGIN_REDIRECT_URL)
    if request.method == "POST":
        form = AuthenticationForm(request, request.POST)
        if await sync_to_async(form.is_valid)():
            await alogin(request, form.get_user())
            return redirect(target)
    elif (await request.auser()).is_authenticated:
        return redirect(target)
    else:
        form = AuthenticationForm(request)
    context = {"form": form, "next": target, "title": "Sign in"}
    return await sync_to_async(render)(
        request, "dashboard/web/login.html", context, status=422 if form.is_bound else 200
    )


@require_POST
async def sign_out(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    await alogout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


def locked_out(
    request: HttpRequest,
    original_response: HttpResponse | None = None,
    credentials: dict[str, Any] | None = None,
) -> HttpResponse:
    """429: too many failures. Each further try starts the wait again, which the page says too."""
    wait = get_cool_off(request)
    seconds = math.ceil(wait.total_seconds()) if wait else 0
    until: datetime | None = timezone.now() + wait if wait else None
    context = {"until": until, "limit": settings.AXES_FAILURE_LIMIT, "title": "Too many tries"}
    response = render(request, "dashboard/web/locked_out.html", context, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response
