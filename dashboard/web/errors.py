"""Pages for what goes wrong: each says what happened in a sentence and offers a way on."""

from __future__ import annotations

import logging
import sys

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin

from dashboard.access import (
    Hidden,
    LoginRequired,
    UnknownNamespace,
    Verb,
    default_namespace,
    for_all_tenants,
    may,
)
from dashboard.web.login import to_login
from dashboard.web.logs import database_away
from workers.client.errors import (
    BadQuery,
    NoAnswer,
    RunNotFound,
    TemporalError,
    TemporalUnavailable,
)
from workers.conf import ConfigurationError

logger = logging.getLogger(__name__)
BARE = (
    "<!doctype html><html lang=en><title>Signalbox</title><h1>{title}</h1>"
    "<p>{text}</p><p><a href='/'>Overview</a></p>"
)
BROKEN = BARE.format(
    title="Something broke on our side", text="Nothing is lost: workflows go on without this page."
)
NO_DATABASE = (
    "The console's database is locked, full or away. What you sent may not have been done: send it again in "
    "a moment; an action that is sent twice counts once. Workflows go on."
)
LOGGED = "It is logged. Nothing is lost: workflows go on without this page."
UNSURE = "It is logged. Whether it was done is not known; go back and send it again: a decision counts once."
UNUSABLE = "The console's settings of the connection to Temporal cannot be used; its log says why."
Links = tuple[tuple[str, str], ...]


def page(
    request: HttpRequest,
    status: int,
    title: str,
    text: str,
    *,
    shape: str = "cut",
    links: Links | None = None,
) -> HttpResponse:
    """An error page. For htmx, a region that was to change keeps what it shows; a form that was sent gets a
    note on top of what was typed."""
    if links is None:
        here = [default_namespace()]
        links = (
            (reverse("overview", args=here), "Overview"),
            (reverse("workflows", args=here), "All workflows"),
        )
    context = {"title": title, "text": text, "shape": shape, "links": links, "status": status}
    if not request.headers.get("HX-Request"):
        return render(request, "dashboard/web/error.html", context, status=status)
    if request.method in ("GET", "HEAD"):
        response = render(request, "dashboard/web/error.html", context, status=status)
        response.headers["HX-Reswap"] = "none"
        return response
    response = HttpResponse(render_to_string("dashboard/web/_note.html", context), status=status)
    response.headers["HX-Reswap"] = "afterbegin"
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Handler of 400."""
    return page(request, 400, "Bad request", "The server cannot use this request. Go back and try again.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Handler of 403; the exception's own sentence says what is missing."""
    text = str(exception) or "Your account may not do this. Ask an administrator."
    viewer = getattr(request, "viewer", None)
    links = ((reverse("home"), "Overview"),) if viewer and not may(viewer, Verb.VIEW) else ()
    undecided = viewer and not for_all_tenants(viewer) and viewer.tenants and not viewer.tenant
    title = "Choose a tenant" if undecided else "Permission denied"
    return page(request, 403, title, text, shape="rest", links=links)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Handler of 404. Says nothing about what exists for viewers of other tenants."""
    if isinstance(exception, UnknownNamespace):
        return page(request, 404, "No such namespace", str(exception))
    return page(request, 404, "Not found", "There is no such page, or you have no permission to see it.")


def no_database(request: HttpRequest) -> HttpResponse:
    """503 of a request that the database refused. The page is drawn without it, so no login is known."""
    if request.path.startswith("/api/"):
        response: HttpResponse = JsonResponse({"detail": NO_DATABASE}, status=503)
    else:
        response = HttpResponse(BARE.format(title="The database is away", text=NO_DATABASE), status=503)
    response.headers["Retry-After"] = "5"
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Handler of 500, and of a database that is away. When even the page cannot be drawn, a bare one."""
    if database_away(sys.exc_info()[1]):
        return no_database(request)
    try:
        return page(
            request,
            500,
            "Something broke on our side",
            LOGGED if request.method in ("GET", "HEAD") else UNSURE,
            shape="stop",
        )
    except Exception:
        logger.exception("The page for an error failed too.")
        return HttpResponse(BROKEN, status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without its token: an old page, or another site's doing."""
    text = "Nothing was done. This form is too old, or is not from here: open the page again."
    try:
        return page(request, 403, "This form is not valid any more", text, shape="stop")
    except DatabaseError:
        return HttpResponse(BROKEN, status=403)


def temporal_away(request: HttpRequest, error: TemporalUnavailable) -> HttpResponse:
    """503 of a page that has nothing to show without Temporal."""
    text = f"{error.message} Workflows are safe: they go on as soon as it is back. Reload this page then."
    links = ((request.path, "Try again"), (reverse("home"), "Overview"))
    response = page(request, 503, "Temporal is unreachable", text, shape="stop", links=links)
    response.headers["Retry-After"] = "5"
    return response


def no_such_run(request: HttpRequest, workflow_id: str) -> HttpResponse:
    """404 of a workflow or run that does not exist, or that another tenant has: the same page for both."""
    text = f"There is no workflow {workflow_id}. Its retention may be over, or another tenant has it."
    return page(request, 404, "Not found", text)


def temporal_failed(request: HttpRequest, error: TemporalError) -> HttpResponse:
    """The page of a call that reached Temporal and brought nothing to show: 400 for a query that the server
    refused, 504 where no worker answered, else 502."""
    match error:
        case BadQuery():
            status, title = 400, "The server refused this query"
        case NoAnswer():
            status, title = 504, "No worker answered"
        case _:
            status, title = 502, "There is no answer to show"
    links = ((request.path, "Try again"), (reverse("home"), "Overview"))
    return page(request, status, title, error.message, links=links)


class ErrorPages(MiddlewareMixin):
    """Middleware: what views raise becomes a page. Django itself does so for 400, 403, 404 and 500."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        match exception:
            case LoginRequired():
                return to_login(request)
            case TemporalUnavailable():
                return temporal_away(request, exception)
            case RunNotFound() | Hidden():
                match = request.resolver_match
                workflow_id = str(match.kwargs.get("workflow_id", "")) if match else ""
                return no_such_run(request, workflow_id) if workflow_id else None
            case ConfigurationError():
                logger.error("%s", exception)
                return temporal_away(request, TemporalUnavailable(UNUSABLE))
            case TemporalError():
                return temporal_failed(request, exception)
        return None
